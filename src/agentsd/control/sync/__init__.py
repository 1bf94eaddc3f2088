"""Reconciliation of a tree of files with the store."""
