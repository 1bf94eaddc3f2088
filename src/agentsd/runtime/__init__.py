"""The data plane: the store into running agents."""
