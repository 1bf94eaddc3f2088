"""Replies made of agents, runs and revisions, with secrets masked."""
