"""From the sessions topic to complete blocks."""
