"""Statistics of drift: what is counted of a block, how two are compared, and what is unusual."""
