"""Shared parts of the local providers: requirements, and models in a process each."""
