"""Health of agents: which section's vendor answered which version, or did not; shared by all replicas.

A row holds words of fixed lists and names of the manifest, never a text: it is composed where it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.ledger.failure import make_cause
from agentsd.core.ledger.status import KindHealth
from agentsd.store.queries.agent_rows import transpose_rows

HEALTH_CHANNEL = "agentsd_health"
TEST_KIND = "test"
"""``kind`` of the row that holds the outcome of an agent's latest test."""


@dataclass(frozen=True, slots=True)
class HealthRow:
    """State of one section of one agent."""

    agent_id: UUID
    kind: str
    version: int
    failing: bool
    since: datetime
    provider: str = ""
    reason: str = ""
    code: str | None = None
    place: str = ""  # llm.fallback[0]
    updated_at: datetime | None = None  # by Postgres' clock; None: not stored yet

    def describe(self, slug: str) -> KindHealth:
        """Return the state of agent ``slug``, its cause in our own words."""
        cause = None
        if self.failing:
            kind = self.place.partition(".")[0] or self.kind
            cause = make_cause(kind, self.provider, self.reason, self.code, slug, self.since, self.place)
        return KindHealth(self.kind, self.version, self.failing, self.since, cause)


@dataclass(frozen=True, slots=True)
class ClaimedProbe:
    """Probe that this replica makes, and no other."""

    agent_id: UUID
    kind: str
    reason: str


async def put_health(connection: AsyncConnection, rows: Sequence[HealthRow], probe_after: timedelta) -> None:
    """Replace the states of ``rows``, and notify the replicas. An older version replaces nothing.

    What fails now is probed ``probe_after`` from now, what failed already when it was due anyway.
    """
    if not rows:
        return
    values = [
        (
            one.agent_id,
            one.kind,
            one.version,
            one.failing,
            one.provider,
            one.reason,
            one.code,
            one.place,
            one.since,
        )
        for one in sorted(rows, key=lambda one: (one.agent_id, one.kind))
    ]
    await connection.execute(_PUT, (probe_after, *transpose_rows(values)))
    await connection.execute("SELECT pg_notify(%s, '')", (HEALTH_CHANNEL,))


_PUT = """
INSERT INTO agent_health AS h
    (agent_id, kind, version, failing, provider, reason, code, place, since, updated_at, probe_at)
SELECT s.*, clock_timestamp(), CASE WHEN s.failing THEN now() + %b::interval END
FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::boolean[], %b::text[], %b::text[], %b::text[],
            %b::text[], %b::timestamptz[])
     AS s (agent_id, kind, version, failing, provider, reason, code, place, since)
ON CONFLICT (agent_id, kind) DO UPDATE SET
    version = excluded.version, failing = excluded.failing, provider = excluded.provider,
    reason = excluded.reason, code = excluded.code, place = excluded.place, since = excluded.since,
    updated_at = excluded.updated_at,
    probes = CASE WHEN h.failing AND excluded.failing AND h.version = excluded.version
                  THEN h.probes ELSE 0 END,
    probe_at = CASE WHEN h.failing AND excluded.failing AND h.version = excluded.version
                    THEN h.probe_at ELSE excluded.probe_at END
WHERE h.version <= excluded.version
"""


async def load_health(connection: AsyncConnection, since: datetime | None = None) -> list[HealthRow]:
    """Return the states that were written from ``since`` on; None: all."""
    cursor = await connection.execute(
        """SELECT agent_id, kind, version, failing, since, provider, reason, code, place, updated_at
           FROM agent_health WHERE %(since)s::timestamptz IS NULL OR updated_at >= %(since)s
           ORDER BY updated_at""",
        {"since": since},
    )
    return [HealthRow(*row) for row in await cursor.fetchall()]


async def list_failing_agents(connection: AsyncConnection) -> list[tuple[str, HealthRow]]:
    """Return slug and state of what fails in the version that is stored, the first to fail of each agent."""
    cursor = await connection.execute(
        """SELECT DISTINCT ON (a.slug) a.slug, h.agent_id, h.kind, h.version, h.failing, h.since, h.provider,
                  h.reason, h.code, h.place, h.updated_at
           FROM agent_health h JOIN agents a ON a.id = h.agent_id
           WHERE h.failing AND h.kind <> %s AND h.version >= a.version
             AND a.is_active AND a.deleted_at IS NULL
           ORDER BY a.slug, h.since""",
        (TEST_KIND,),
    )
    return [(row[0], HealthRow(*row[1:])) for row in await cursor.fetchall()]


async def claim_probes(
    connection: AsyncConnection, first: timedelta, longest: timedelta, limit: int
) -> list[ClaimedProbe]:
    """Return what is due to be probed, and put its next probe off: twice as long each time."""
    cursor = await connection.execute(
        """UPDATE agent_health AS h SET
               probes = h.probes + 1,
               probe_at = now() + least(%(first)s::interval * power(2, least(h.probes + 1, 16)),
                                        %(longest)s::interval)
           FROM (SELECT agent_id, kind FROM agent_health
                 WHERE failing AND kind <> 'test' AND probe_at <= now() ORDER BY probe_at LIMIT %(limit)s
                 FOR UPDATE SKIP LOCKED) due
           WHERE (h.agent_id, h.kind) = (due.agent_id, due.kind)
           RETURNING h.agent_id, h.kind, h.reason""",
        {"first": first, "longest": longest, "limit": limit},
    )
    return [ClaimedProbe(*row) for row in await cursor.fetchall()]


async def hasten_probes(connection: AsyncConnection, agents: Sequence[UUID]) -> None:
    """Make the next probes of ``agents`` due now."""
    if agents:
        await connection.execute(
            "UPDATE agent_health SET probe_at = now(), probes = 0 WHERE failing AND agent_id = ANY(%b)",
            (list(agents),),
        )


async def prune_health(connection: AsyncConnection) -> int:
    """Remove the states of agents that were deleted. Return how many rows."""
    cursor = await connection.execute(
        """DELETE FROM agent_health h WHERE EXISTS (
               SELECT FROM agents a WHERE a.id = h.agent_id AND a.deleted_at IS NOT NULL)"""
    )
    return cursor.rowcount
