"""What the monitor counts, exactly once: by partition, with the offsets up to which it has read."""
