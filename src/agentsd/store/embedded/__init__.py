"""Embedded Postgres server, for one machine."""
