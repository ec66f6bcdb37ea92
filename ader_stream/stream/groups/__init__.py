"""Consumer groups: joining them, leading one, and reading their offsets."""
