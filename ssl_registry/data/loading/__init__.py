"""From a source to batches: the data module, loaders with a resumable order, worker processes, views on the host."""
