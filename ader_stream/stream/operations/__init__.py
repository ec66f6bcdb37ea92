"""What operators do with the topics: replay, reset, skip, erase, look."""
