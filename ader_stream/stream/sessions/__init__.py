"""Turn the clicks of one input partition into closed sessions and ended blocks."""
