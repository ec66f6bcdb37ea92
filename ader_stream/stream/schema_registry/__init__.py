"""Schemas from a registry: its HTTP interface, a cache, an allowance of requests."""
