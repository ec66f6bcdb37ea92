"""The live page of the monitor: static files that show the status, and a box to try a session."""
