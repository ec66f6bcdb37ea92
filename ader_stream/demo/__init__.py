"""Run the whole system on one machine, and report about it."""
