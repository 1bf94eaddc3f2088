"""Real clients, unmodified, newest versions, against a real server: ``python -m tests.clients``."""
