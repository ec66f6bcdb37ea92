"""The model log: publish, sign, read, follow and prune versions."""
