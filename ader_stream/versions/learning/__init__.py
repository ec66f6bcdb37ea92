"""What a version has forgotten and what it has learned, measured before it is published."""
