"""Speech to text: one vendor per file."""
