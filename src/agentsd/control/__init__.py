"""The control plane: files into the store."""
