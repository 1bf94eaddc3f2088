"""Removal of old revisions, in batches.

The newest of an agent, and those that a runtime may serve, always stay.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from psycopg import AsyncConnection

PRUNE_BATCH = 1000
"""Rows that one statement removes at most, so that its locks are short."""


async def prune_revisions(
    connection: AsyncConnection, keep: int, agents: Collection[UUID] | None = None
) -> int:
    """Remove up to ``PRUNE_BATCH`` revisions beyond the newest ``keep`` of an agent; of all for None.

    Return how many were removed: as long as that is ``PRUNE_BATCH``, there may be more.
    """
    cursor = await connection.execute(
        """DELETE FROM agent_revisions r USING (
               SELECT agent_id, version FROM (
                   SELECT agent_id, version,
                          row_number() OVER (PARTITION BY agent_id ORDER BY version DESC) AS place
                   FROM agent_revisions WHERE %(all)s::boolean OR agent_id = ANY(%(agents)s::uuid[])
               ) ranked WHERE place > greatest(%(keep)s::int, 1) LIMIT %(batch)s
           ) old WHERE (r.agent_id, r.version) = (old.agent_id, old.version)""",
        {"all": agents is None, "agents": list(agents or ()), "keep": keep, "batch": PRUNE_BATCH},
    )
    return cursor.rowcount


async def drop_unused_documents(connection: AsyncConnection) -> int:
    """Remove up to ``PRUNE_BATCH`` documents that nothing refers to. Needs ``agents.lock_applies``."""
    cursor = await connection.execute(
        """WITH named AS MATERIALIZED (
               SELECT document_digest AS digest FROM agent_revisions
               UNION SELECT document_digest FROM agents
               UNION SELECT unnest(layer_digests) FROM agents
               UNION SELECT document_digest FROM users WHERE document_digest IS NOT NULL
               UNION SELECT decode(one#>>'{}', 'hex') FROM (
                   SELECT attachments FROM agents UNION ALL SELECT attachments FROM agent_revisions
               ) beside, jsonb_path_query(beside.attachments, 'lax $.*[*].digest') AS one
           )
           DELETE FROM documents WHERE digest IN (
               SELECT d.digest FROM documents d
               WHERE NOT EXISTS (SELECT FROM named n WHERE n.digest = d.digest) LIMIT %(batch)s
           )""",
        {"batch": PRUNE_BATCH},
    )
    return cursor.rowcount
