"""The LightningModule of a method, and its parts: backbone, batches, freezing, optimizers, reopening."""
