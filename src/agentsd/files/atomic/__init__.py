"""Atomic changes of files on disk."""
