collect_ignore = ["quix_sessions.py"]
"""Imports what only the environment has that the benchmark makes for it."""
