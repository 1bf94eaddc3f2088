"""Clients of what an agent's tools call."""
