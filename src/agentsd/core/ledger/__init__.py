"""Values and arithmetic of activity, cost and status of agents. Pure."""
