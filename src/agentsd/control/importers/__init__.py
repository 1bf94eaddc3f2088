"""Importers: manifests made from other systems, and files made from the store."""
