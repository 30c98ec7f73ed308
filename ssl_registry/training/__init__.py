"""The machinery of a training: the model for a source, Lightning's Trainer, callbacks, loggers."""
