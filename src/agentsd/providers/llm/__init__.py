"""Large language models: one vendor per file."""
