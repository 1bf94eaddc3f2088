"""The composition roots: settings in, parts out."""
