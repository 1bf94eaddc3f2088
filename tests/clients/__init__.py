<<<<<<< HEAD
"""Real clients, unmodified, newest versions, against a real server: ``python -m tests.clients``."""
=======
"""Real clients in their newest versions, unmodified, against a real server: ``python -m tests.clients``."""
>>>>>>> main
