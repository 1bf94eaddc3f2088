"""Vendors' clients behind small protocols: one vendor per file, strangers to each other."""
