"""Exemplars: how many each item has, and which ones (paper, section 3.1)."""
