"""What was refused, and the way back for what was mended."""
