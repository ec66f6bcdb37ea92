"""One file is one process, one consumer group and one deployable unit."""
