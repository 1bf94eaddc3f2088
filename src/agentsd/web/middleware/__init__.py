"""What every request passes: authentication, limits, CORS."""
