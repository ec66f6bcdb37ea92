"""The model log: versions published, signed, read, counted and deleted."""
