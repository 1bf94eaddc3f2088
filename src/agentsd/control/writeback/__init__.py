"""Edits that come through the API, carried out on the files."""
