"""The monitor: count what the topics hold, exactly once, and show drift, quality and lag."""
