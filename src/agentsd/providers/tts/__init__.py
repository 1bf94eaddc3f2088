"""Text to speech: one vendor per file."""
