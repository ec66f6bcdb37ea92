"""Decode the user's records into clicks, or refuse them with a reason."""
