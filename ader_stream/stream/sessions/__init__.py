"""From the clicks of one input partition to closed sessions, and from those to blocks."""
