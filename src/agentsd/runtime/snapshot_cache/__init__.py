"""Snapshot on disk, which a cold start serves while Postgres is unavailable."""
