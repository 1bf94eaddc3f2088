"""agentsd: voice and chat agents as code."""

__version__ = "0.1.0"
