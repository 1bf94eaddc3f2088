"""Real clients, unmodified and in their newest versions, against a real server: ``python -m tests.clients``."""
