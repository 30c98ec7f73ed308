"""What sources of arrays share: which array is an image, a signal or a table; labels; statistics; the data set."""
