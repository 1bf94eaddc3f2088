"""Activity of agents by the minute: replicas add to a row, readers sum rows up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from agentsd.store.lenient_values import read_mapping
from agentsd.store.queries.agent_rows import transpose_rows

PRUNE_BATCH = 5000
"""Rows that one statement removes at most, so that its locks are short."""
ERRORS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """Activity of one agent in one minute, or in a longer span that begins then."""

    agent_id: UUID
    minute: datetime
    turns: int
    failed: int
    failures: Mapping[str, int]  # class of the error → turns
    first_token: Sequence[int]  # counts by ``core.ledger.histogram``
    first_sound: Sequence[int]
    error: Mapping[str, Any] | None = None  # the latest


async def add_activity(connection: AsyncConnection, rows: Sequence[ActivityRow]) -> None:
    """Add ``rows`` to what other replicas counted in the same minutes, in one statement."""
    if not rows:
        return
    values = [
        (
            row.agent_id,
            row.minute,
            row.turns,
            row.failed,
            orjson.dumps(dict(row.failures)).decode(),
            _format_array(row.first_token),
            _format_array(row.first_sound),
            None if row.error is None else orjson.dumps(dict(row.error)).decode(),
        )
        for row in sorted(rows, key=lambda one: (one.agent_id, one.minute))  # one order of locks
    ]
    await connection.execute(_ADD, transpose_rows(values))


def _format_array(counts: Sequence[int]) -> str:
    """Return an array in Postgres' text form: ``unnest`` would flatten a list of lists."""
    return "{" + ",".join(map(str, counts)) + "}"


_SUM_ARRAYS = """ARRAY(SELECT coalesce(x, 0) + coalesce(y, 0)
    FROM unnest(a.{0}, excluded.{0}) WITH ORDINALITY AS pairs (x, y, place) ORDER BY place)"""

_ADD = f"""
INSERT INTO agent_activity AS a
    (agent_id, minute, turns, failed, failures, first_token, first_sound, error)
SELECT s.agent_id, s.minute, s.turns, s.failed, s.failures::jsonb, s.first_token::int[], s.first_sound::int[],
       s.error::jsonb
FROM unnest(%b::uuid[], %b::timestamptz[], %b::int[], %b::int[], %b::text[], %b::text[], %b::text[],
            %b::text[])
     AS s (agent_id, minute, turns, failed, failures, first_token, first_sound, error)
ON CONFLICT (agent_id, minute) DO UPDATE SET
    turns = a.turns + excluded.turns,
    failed = a.failed + excluded.failed,
    failures = (SELECT coalesce(jsonb_object_agg(name, turns), '{{}}') FROM (
        SELECT name, sum(turns::int) AS turns FROM (
            SELECT * FROM jsonb_each_text(a.failures) AS one (name, turns)
            UNION ALL SELECT * FROM jsonb_each_text(excluded.failures) AS one (name, turns)) classes
        GROUP BY name) summed),
    first_token = {_SUM_ARRAYS.format("first_token")},
    first_sound = {_SUM_ARRAYS.format("first_sound")},
    error = coalesce(excluded.error, a.error)
"""  # noqa: S608  (names of our own columns)


async def load_activity(connection: AsyncConnection, agent_id: UUID, since: datetime) -> list[ActivityRow]:
    """Return the minutes of one agent from ``since`` on, the oldest first."""
    cursor = await connection.execute(
        """SELECT agent_id, minute, turns, failed, failures, first_token, first_sound, error
           FROM agent_activity WHERE agent_id = %s AND minute >= %s ORDER BY minute""",
        (agent_id, since),
    )
    return [
        ActivityRow(row[0], row[1], row[2], row[3], _read_counts(row[4]), row[5], row[6], row[7])
        for row in await cursor.fetchall()
    ]


def _read_counts(value: Any) -> dict[str, int]:
    return {name: count for name, count in read_mapping(value).items() if isinstance(count, int)}


async def prune_activity(connection: AsyncConnection, keep: timedelta) -> int:
    """Remove up to ``PRUNE_BATCH`` minutes that are older than ``keep``. Return how many."""
    cursor = await connection.execute(
        """DELETE FROM agent_activity WHERE ctid = ANY(ARRAY(
               SELECT ctid FROM agent_activity WHERE minute < now() - %s LIMIT %s))""",
        (keep, PRUNE_BATCH),
    )
    return cursor.rowcount
