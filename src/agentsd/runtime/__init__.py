"""Data plane: the agents that run, replaced without interrupting their users.

follower.Follower         LISTEN, load what changed, hand it on; outlives Postgres
    ▼ rows
registry.Registry         builds before it swaps one reference; leases; conditions
    ▼ one row
resolver.Resolver         the newest document that opens and builds: the row's own, else an older one
    ▼ one document
builder.Builder           parse, owners of seals, open, schema, destinations
    ▼ settings
leases.ProviderPool       providers, shared by equal settings, closed after their last lease
"""
