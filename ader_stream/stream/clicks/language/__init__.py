"""The languages in which settings say where a value is, and which records are clicks."""
