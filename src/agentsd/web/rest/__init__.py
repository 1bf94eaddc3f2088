"""The REST interface, one resource a module."""
