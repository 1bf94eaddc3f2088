"""Lookup of an agent's present or last place, also of one that was renamed or deleted."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class AgentRef:
    """Names of one agent, and the present or last file that describes it."""

    id: UUID
    slug: str
    owner: str
    path: str
    source: str
    version: int
    deleted: bool


async def find_agent_ref(
    connection: AsyncConnection, *, slug: str | None = None, agent_id: UUID | None = None
) -> AgentRef | None:
    """Return the agent of that id, or that has the slug, or that had it last."""
    cursor = await connection.execute(
        """SELECT a.id, a.slug, u.username, a.path, a.source, a.version, a.deleted_at IS NOT NULL
           FROM agents a JOIN users u ON u.id = a.user_id
           WHERE a.id = coalesce(
               %(id)s::uuid,
               (SELECT id FROM agents WHERE slug = %(slug)s::text AND deleted_at IS NULL),
               (SELECT agent_id FROM agent_revisions WHERE slug = %(slug)s::text
                ORDER BY version DESC LIMIT 1))""",
        {"slug": slug, "id": agent_id},
    )
    row = await cursor.fetchone()
    return None if row is None else AgentRef(*row)
