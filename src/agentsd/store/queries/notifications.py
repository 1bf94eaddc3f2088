"""Failures and the receivers notified of them.

A restart repeats nothing, and the receivers of a failure are notified of its recovery.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from psycopg import AsyncConnection

from agentsd.store.lenient_values import read_strings
from agentsd.store.queries.agent_rows import transpose_rows


@dataclass(frozen=True, slots=True)
class ActiveFailure:
    """Failure that exists now."""

    key: str  # "run", "manifest:PATH", "agent:SLUG"
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Recorded failure. ``told``: fingerprints of the receivers that were notified of it."""

    key: str
    reason: str
    message: str
    failing: bool  # False: it is over, but the notified receivers have yet to be notified of that
    told: frozenset[str]
    since: datetime


async def load_notices(connection: AsyncConnection, source: str) -> list[Notice]:
    """Load the notices, oldest first."""
    cursor = await connection.execute(
        """SELECT key, reason, message, failing, told, since FROM notices
           WHERE source = %s ORDER BY since, key""",
        (source,),
    )
    rows = await cursor.fetchall()
    return [Notice(row[0], row[1], row[2], row[3], read_strings(row[4]), row[5]) for row in rows]


async def select_source_slugs(
    connection: AsyncConnection, source: str, slugs: Collection[str]
) -> frozenset[str]:
    """Return those of ``slugs`` that are agents of ``source``."""
    if not slugs:
        return frozenset()
    cursor = await connection.execute(
        "SELECT slug FROM agents WHERE source = %s AND slug = ANY(%b) AND deleted_at IS NULL",
        (source, list(slugs)),
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def replace_failures(
    connection: AsyncConnection, source: str, failing: Sequence[ActiveFailure]
) -> None:
    """Replace the failures by ``failing``; one that is over is kept until its end was sent."""
    keys = [one.key for one in failing]
    await connection.execute(
        "DELETE FROM notices WHERE source = %s AND key <> ALL(%b::text[]) AND told = '[]'", (source, keys)
    )
    await connection.execute(
        "UPDATE notices SET failing = false WHERE source = %s AND key <> ALL(%b::text[]) AND failing",
        (source, keys),
    )
    if failing:
        rows = transpose_rows([(one.key, one.reason, one.message) for one in failing])
        await connection.execute(_PUT, (source, *rows))


async def set_notified(connection: AsyncConnection, source: str, key: str, told: Collection[str]) -> None:
    """Record the receivers notified of a failure. One that is over is removed with the last of them."""
    names: Mapping[str, object] = {
        "source": source,
        "key": key,
        "told": orjson.dumps(sorted(told)).decode(),
    }
    await connection.execute(
        "UPDATE notices SET told = %(told)s::jsonb WHERE source = %(source)s AND key = %(key)s", names
    )
    await connection.execute(
        """DELETE FROM notices
           WHERE source = %(source)s AND key = %(key)s AND NOT failing AND told = '[]'""",
        names,
    )


_PUT = """
INSERT INTO notices AS n (source, key, reason, message)
SELECT %s, s.* FROM unnest(%b::text[], %b::text[], %b::text[]) AS s (key, reason, message)
ON CONFLICT (source, key) DO UPDATE
    SET reason = excluded.reason, message = excluded.message, failing = true,
        since = CASE WHEN n.failing THEN n.since ELSE now() END
"""
