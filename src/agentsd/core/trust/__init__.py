"""Trust rules: allowed destinations of secrets and connections."""
