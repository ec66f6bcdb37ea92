"""Schemas from a registry: its HTTP interface, a cache, a limit of requests."""
