"""Embeddings: one vendor per file."""
