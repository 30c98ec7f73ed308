"""What a checkpoint holds: its record, how it is written and read, and the weights of a backbone in it."""
