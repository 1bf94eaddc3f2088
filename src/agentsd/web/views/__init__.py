"""Responses made from agents, runs and revisions, with secrets masked."""
