"""The data plane: what runs, swapped under the feet of those who use it, without a stumble.

listener.Follower     LISTEN, load what changed, hand it on; outlives Postgres
    ▼ rows
registry.Registry     builds before it swaps one reference; leases; conditions
    ▼ one row
resolving.Resolver    the newest document that opens and builds: the row's own, else an older one
    ▼ one document
building.Builder      parse, owners of seals, open, schema, destinations
    ▼ settings
leases.Boxes          providers, shared by equal settings, closed after their last lease
"""
