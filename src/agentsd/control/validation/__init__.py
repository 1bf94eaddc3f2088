"""Checks of manifests: schema, semantics, seals and recipients."""
