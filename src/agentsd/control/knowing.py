"""The passages of attached sources, stored with the apply that needs them."""

from __future__ import annotations

import asyncio

from psycopg import AsyncConnection

from agentsd.control.extraction import passages
from agentsd.core.plan import Plan
from agentsd.store import knowledge


async def store_sources(conn: AsyncConnection, decided: Plan) -> None:
    """The passages of sources that are new, ready to be searched when this transaction commits."""
    attached = [source for c in decided.changes if c.desired for source in c.desired.attachments.sources]
    sources = {source.digest: source for source in attached if source.data is not None}
    missing = await knowledge.missing_sources(conn, sources.keys())
    cut = {
        digest: (source.path, await asyncio.to_thread(passages, source.path, source.data or b""))
        for digest, source in sources.items()
        if digest in missing
    }
    await knowledge.store_sources(conn, cut)


async def drop_sources(conn: AsyncConnection, decided: Plan) -> None:
    """Passages that no agent needs any more."""
    if any(change.stored and change.stored.attachments.sources for change in decided.changes):
        await knowledge.drop_unused(conn)
