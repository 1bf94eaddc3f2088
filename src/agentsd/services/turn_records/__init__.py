"""Turns of conversations as values, and the sinks that get them."""
