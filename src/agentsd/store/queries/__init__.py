"""SQL queries, one subject a module."""
