"""A Postgres server of our own, for one machine."""
