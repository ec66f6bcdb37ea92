"""Score session prefixes before they are trained on, and log the scores."""
