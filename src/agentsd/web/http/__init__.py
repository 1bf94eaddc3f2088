"""Generic HTTP: problems, JSON, caching, server-sent events."""
