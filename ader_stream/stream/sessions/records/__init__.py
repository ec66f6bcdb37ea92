"""The records of sessions and of a partition's state."""
