"""Manifests as values: documents, layers, schemas and edits."""
