"""Tests of the runtime: real Postgres, real sops, a real vendor's server."""
