"""Real clients in their newest versions, unmodified, against a real server: ``python -m tests.clients``."""
