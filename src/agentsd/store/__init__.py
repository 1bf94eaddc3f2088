"""Postgres: tables, bulk load and apply, runs, replicas, notifications, the embedded server."""
