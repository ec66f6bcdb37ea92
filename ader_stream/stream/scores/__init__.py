"""Session prefixes scored before they are learned from, and what becomes of the scores."""
