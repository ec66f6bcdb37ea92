"""What a version is to both halves: the method's tensors and the transport's manifest, joined."""
