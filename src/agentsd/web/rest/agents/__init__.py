"""The resource `/api/agents`."""
