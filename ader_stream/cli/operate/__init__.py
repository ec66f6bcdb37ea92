"""Commands that read or change what the workers keep: blocks, sessions, offsets, erasure, reset."""
