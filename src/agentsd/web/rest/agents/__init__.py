"""Resource `/api/agents`."""
