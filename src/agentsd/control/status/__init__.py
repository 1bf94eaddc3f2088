"""Overviews, histories and revisions, as values for people and machines."""
