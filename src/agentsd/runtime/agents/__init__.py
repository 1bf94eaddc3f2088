"""Agents of a runtime: registry, snapshots, leases and builders."""
