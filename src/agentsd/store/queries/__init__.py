"""SQL, one subject a module."""
