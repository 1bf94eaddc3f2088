"""Composition roots: from settings to components."""
