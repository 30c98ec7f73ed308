"""WebDataset shards: their index, their images and the order of their samples."""
