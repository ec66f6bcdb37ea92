"""Give memory back: what the allocator keeps, and what Python's collector must find."""
