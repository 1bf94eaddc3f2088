"""What the providers of this machine share: what they need, and the models, each in a process of its own."""
