"""Remembering what manifests were checked against: no change of an agent, so no version."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection

from agentsd.core.agent import Manifest


async def mark_checked(connection: AsyncConnection, manifests: Sequence[Manifest], checked: bytes) -> None:
    """Note that unchanged ``manifests`` passed the rules of digest ``checked`` (verified or not)."""
    ids = [manifest.id for manifest in manifests]
    await connection.execute(
        """UPDATE agents a SET verified = m.verified, checked = %s
           FROM unnest(%s::uuid[], %s::boolean[]) AS m(id, verified) WHERE a.id = m.id""",
        (checked, ids, [manifest.verified for manifest in manifests]),
    )
    await connection.execute("UPDATE agents a SET applied_hash = agent_hash(a) WHERE a.id = ANY(%s)", (ids,))
