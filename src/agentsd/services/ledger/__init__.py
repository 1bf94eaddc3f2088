"""The ledger of one replica: activity, health and usage of agents, counted from their turns."""
