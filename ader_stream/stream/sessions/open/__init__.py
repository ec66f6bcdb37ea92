"""Sessions that are not closed yet."""
