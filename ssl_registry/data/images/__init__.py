"""What sources of images share: listing, decoding, pixels, the cache of decoded images."""
