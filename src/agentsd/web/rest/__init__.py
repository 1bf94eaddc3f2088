"""REST interface, one resource per module."""
