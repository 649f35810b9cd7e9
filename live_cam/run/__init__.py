"""One run from a source to its files and its window: threads, limits, keys, ends."""
