"""Turn the sessions topic into complete blocks."""
