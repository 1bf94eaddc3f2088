"""The tree of manifests on disk, and git."""
