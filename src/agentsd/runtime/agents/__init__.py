"""Running agents: registry, snapshots, leases and builders."""
