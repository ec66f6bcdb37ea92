"""What one version is, and its forms: safetensors parts, folders, ONNX."""
