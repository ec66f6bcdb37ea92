"""Refused clicks, and sending corrected ones back."""
