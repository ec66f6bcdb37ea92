"""The model log: versions published, signed, read, followed, pruned."""
