"""Sessions that may still grow."""
