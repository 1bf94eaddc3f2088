"""Tests of pure values: no file, no database, no event loop."""
