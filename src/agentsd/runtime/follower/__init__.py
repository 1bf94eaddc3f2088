"""Followers of the store: agents, tokens, runs and knowledge."""
