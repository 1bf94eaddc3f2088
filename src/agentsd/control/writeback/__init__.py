"""Edits that arrive through the API, carried out on the files."""
