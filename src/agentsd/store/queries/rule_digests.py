"""Digests of the rules that manifests were checked against. They change no agent, so they get no version."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection

from agentsd.core.manifest.agent import Manifest
from agentsd.store.queries.agent_rows import COLUMNS


async def mark_checked(connection: AsyncConnection, manifests: Sequence[Manifest], checked: bytes) -> None:
    """Record that unchanged ``manifests`` passed the rules of digest ``checked``, and if they verified.

    A row that was edited by hand is left alone, so that it still shows as drifted.
    """
    if manifests:
        ids = [manifest.id for manifest in manifests]
        verified = [manifest.verified for manifest in manifests]
        await connection.execute(_MARK, {"checked": checked, "ids": ids, "verified": verified})


_REHASHED = ", ".join(
    {"verified": "m.verified", "checked": "%(checked)b"}.get(name, f"a.{name}") for name, _ in COLUMNS
)

_MARK = f"""
UPDATE agents a SET checked = %(checked)b, verified = m.verified, applied_hash = agent_hash_of({_REHASHED})
FROM unnest(%(ids)b::uuid[], %(verified)b::boolean[]) AS m (id, verified)
WHERE a.id = m.id AND a.deleted_at IS NULL AND agent_hash(a) = a.applied_hash
"""  # noqa: S608  (names from the constant above)
