"""Tests of the vendors' clients, against the servers of ``tests.vendors``."""
