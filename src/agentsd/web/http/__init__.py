"""HTTP as such: problems, JSON, caching, server-sent events."""
