"""Session models, and the ranking of items by them."""
