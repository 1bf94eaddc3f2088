"""What the providers that run inside this process share: what they need, and the models in memory."""
