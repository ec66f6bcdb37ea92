"""The control topic: commands, erasure requests, and the current rules."""
