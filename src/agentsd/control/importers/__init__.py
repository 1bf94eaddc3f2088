"""Manifests made from other systems, and from the store."""
