"""SQL of the ledger: what replicas add of activity, health and usage, and how it is read."""
