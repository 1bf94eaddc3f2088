"""Sealing of manifests: new seals, changed seals, merges of sealed files."""
