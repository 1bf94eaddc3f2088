"""Summaries of revisions, of all agents or of one, deleted ones included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class RevisionSummary:
    """Revision of one agent, without its document; ``previous`` is the digest before it."""

    agent_id: UUID
    version: int
    operation: str  # as in core.plan.Operation
    slug: str
    owner: str
    path: str
    digest: bytes
    previous: bytes | None  # None: it was created
    commit: str | None
    trigger: str | None  # of the sync's run: "cli", "watch", "api"; None: not on record
    created_at: datetime


async def load_revision_summaries(
    connection: AsyncConnection, *, limit: int, slug: str | None = None, agent_id: UUID | None = None
) -> list[RevisionSummary]:
    """Load summaries, newest first; of every agent where none is named.

    ``slug``: the agent that has it (or had it last) under all of its names, and any agent that had it
    before.
    """
    cursor = await connection.execute(
        _STEPS, {"slug": slug, "id": agent_id, "all": slug is None and agent_id is None, "limit": limit}
    )
    return [RevisionSummary(*row) for row in await cursor.fetchall()]


_STEPS = """
WITH holder AS (
    SELECT coalesce(
        %(id)s::uuid,
        (SELECT id FROM agents WHERE slug = %(slug)s::text AND deleted_at IS NULL),
        (SELECT agent_id FROM agent_revisions WHERE slug = %(slug)s::text ORDER BY version DESC LIMIT 1)
    ) AS id
)
SELECT r.agent_id, r.version, r.operation, r.slug, r.owner, r.path, r.digest,
       (SELECT p.digest FROM agent_revisions p
        WHERE p.agent_id = r.agent_id AND p.version < r.version ORDER BY p.version DESC LIMIT 1),
       r.commit, s.trigger, r.created_at
FROM agent_revisions r LEFT JOIN sync_runs s ON s.id = r.run_id
WHERE %(all)s::boolean OR r.agent_id = (SELECT id FROM holder) OR r.slug = %(slug)s::text
ORDER BY r.version DESC, r.slug LIMIT %(limit)s
"""
