"""Following the store: agents, tokens, runs and knowledge."""
