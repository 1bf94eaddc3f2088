"""Vendors' clients behind small protocols: one vendor per file, independent of each other."""
