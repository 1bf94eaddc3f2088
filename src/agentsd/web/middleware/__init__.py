"""Middleware for every request: authentication, limits, CORS."""
