"""Pulls: per source the remote, the commit that was last seen there, and the one that was applied.

Recorded in transactions of their own, as runs are. ``request_pull`` asks every puller to pull at
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

PULL_CHANNEL = "agentsd_pull"


@dataclass(frozen=True, slots=True)
class PullState:
    """State of one source in relation to its remote."""

    source: str
    url: str  # without user and password
    ref: str
    path: str  # of the manifests in the repository
    last_attempted: str | None = None  # the commit that the ref was at; None: the remote never answered
    last_applied: str | None = None
    signer: str | None = None  # of ``last_applied``, where signatures are verified
    reason: str | None = None  # CamelCase, for machines: why the two differ, or the remote cannot be reached
    message: str = ""
    attempted_at: datetime | None = None
    applied_at: datetime | None = None
    since: datetime | None = None  # when ``reason`` became what it is


async def list_pulls(connection: AsyncConnection, source: str | None = None) -> list[PullState]:
    """Return the pulls ordered by source; of every source where none is named."""
    cursor = await connection.execute(
        """SELECT source, url, ref, path, attempted, applied, signer, reason, message, attempted_at,
                  applied_at, since
           FROM pulls WHERE %(source)s::text IS NULL OR source = %(source)s ORDER BY source""",
        {"source": source},
    )
    return [PullState(*row) for row in await cursor.fetchall()]


async def record_pull(connection: AsyncConnection, pull: PullState) -> None:
    """Store ``pull`` as an attempt of now; the times that it contains are ignored."""
    await connection.execute(
        """INSERT INTO pulls AS p (source, url, ref, path, attempted, applied, signer, reason, message,
                                   attempted_at, applied_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now(),
                   CASE WHEN %s::text IS NOT NULL THEN now() END)
           ON CONFLICT (source) DO UPDATE SET
               url = excluded.url, ref = excluded.ref, path = excluded.path, attempted = excluded.attempted,
               applied = excluded.applied, signer = excluded.signer, reason = excluded.reason,
               message = excluded.message, attempted_at = now(),
               applied_at = CASE WHEN p.applied = excluded.applied THEN p.applied_at
                                 ELSE excluded.applied_at END,
               since = CASE WHEN p.reason IS NOT DISTINCT FROM excluded.reason THEN p.since ELSE now() END""",
        (
            *(pull.source, pull.url, pull.ref, pull.path, pull.last_attempted, pull.last_applied),
            *(pull.signer, pull.reason, pull.message, pull.last_applied),
        ),
    )


async def request_pull(connection: AsyncConnection) -> None:
    """Ask every puller to pull now, when this transaction commits."""
    await connection.execute("SELECT pg_notify(%s, '')", (PULL_CHANNEL,))


async def load_applied_commit(connection: AsyncConnection, source: str) -> str | None:
    """Return the commit of ``source``'s last apply, or of a later run that found nothing to do."""
    cursor = await connection.execute(
        """SELECT commit FROM (
               (SELECT commit, created_at AS at FROM versions
                WHERE source = %(source)s AND commit IS NOT NULL ORDER BY version DESC LIMIT 1)
               UNION ALL
               (SELECT commit, recorded_at FROM sync_runs
                WHERE source = %(source)s AND commit IS NOT NULL AND outcome IN ('applied', 'unchanged')
                ORDER BY recorded_at DESC LIMIT 1)
           ) AS both_kinds ORDER BY at DESC LIMIT 1""",
        {"source": source},
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])
