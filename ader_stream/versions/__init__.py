"""Versions of the model: the method's tensors and the manifest of the stream, joined."""
