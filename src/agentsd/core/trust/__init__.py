"""Trust rules: where secrets and connections may go."""
