"""Control plane: applies files to the store."""
