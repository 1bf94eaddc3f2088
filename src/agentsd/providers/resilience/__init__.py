"""Retries, limits and fallbacks around a vendor."""
