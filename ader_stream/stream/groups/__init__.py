"""Consumer groups: join them, lead one, and read their offsets."""
