"""Running replicas: each writes a heartbeat, by which ``status`` and ``sync --wait`` find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from agentsd.store.lenient_values import read_mappings

LIVE_SECONDS = 15.0
"""A replica that was silent for longer counts as gone: it beats every ten seconds, and when it changes."""


@dataclass(frozen=True, slots=True)
class Replica:
    """Runtime process."""

    id: UUID
    host: str
    pid: int
    version: int  # the version that it serves
    degraded: Sequence[Mapping[str, Any]] = ()  # of agents that serve an older version: slug, reason, message
    started_at: datetime | None = None  # both by Postgres' clock; None: not stored yet
    seen_at: datetime | None = None
    unopened: int = 0  # agents of that version that it has not opened yet
    failing_tasks: Sequence[Mapping[str, Any]] = ()  # restarted in the background: task, failures, message

    @property
    def place(self) -> str:
        """Return ``host:pid``, its name for people."""
        return f"{self.host}:{self.pid}"

    def silent(self, now: datetime) -> float:
        """Return the seconds since its last heartbeat; ``now`` is Postgres' time."""
        return max((now - self.seen_at).total_seconds(), 0.0) if self.seen_at else 0.0


async def read_clock(connection: AsyncConnection) -> datetime:
    """Return Postgres' time, by which heartbeats are measured."""
    row = await (await connection.execute("SELECT now()")).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    moment: datetime = row[0]
    return moment


async def record_heartbeat(connection: AsyncConnection, replica: Replica) -> None:
    """Record that ``replica`` lives and what it serves."""
    await connection.execute(
        """INSERT INTO replicas (id, host, pid, version, degraded, unopened, failing_tasks)
           VALUES (%s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid,
               version = excluded.version, degraded = excluded.degraded, unopened = excluded.unopened,
               failing_tasks = excluded.failing_tasks, seen_at = now()""",
        (
            replica.id,
            replica.host,
            replica.pid,
            replica.version,
            orjson.dumps([dict(agent) for agent in replica.degraded]).decode(),
            replica.unopened,
            orjson.dumps([dict(task) for task in replica.failing_tasks]).decode(),
        ),
    )


async def list_replicas(connection: AsyncConnection, *, within_seconds: float = 60) -> list[Replica]:
    """Return those with a recent heartbeat, the longest running first."""
    cursor = await connection.execute(
        """SELECT id, host, pid, version, degraded, started_at, seen_at, unopened, failing_tasks FROM replicas
           WHERE seen_at > now() - make_interval(secs => %s) ORDER BY started_at, id""",
        (within_seconds,),
    )
    return [_make_replica(row) for row in await cursor.fetchall()]


def _make_replica(row: tuple[Any, ...]) -> Replica:
    columns = (*row[:4], read_mappings(row[4]), *row[5:8], read_mappings(row[8]))
    return Replica(*columns)


async def remove_replica(connection: AsyncConnection, replica_id: UUID) -> None:
    """Remove a replica that ends, and those that were silent for a day."""
    await connection.execute(
        "DELETE FROM replicas WHERE id = %s OR seen_at < now() - interval '1 day'", (replica_id,)
    )
