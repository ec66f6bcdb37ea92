"""Commands that read or change the workers' data: blocks, sessions, offsets, erasure, reset."""
