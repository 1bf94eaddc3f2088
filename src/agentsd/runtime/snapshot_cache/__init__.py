"""The snapshot on disk that a cold start serves while Postgres is away."""
