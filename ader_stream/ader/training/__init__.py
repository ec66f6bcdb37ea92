"""Epochs, losses, replay, checkpoints."""
