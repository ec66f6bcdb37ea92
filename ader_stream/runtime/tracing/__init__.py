"""Traces of clicks, versions and requests."""
