"""Tests of the control plane, on real files and a real Postgres."""
