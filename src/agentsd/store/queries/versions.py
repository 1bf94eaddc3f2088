"""Versions: one row per apply. The number is the position, the stamp identifies the history."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

VERSIONS_CHANNEL = "agentsd"
APPLY_LOCK = 0x6167656E74736401
""""agentsd" and a 1: the key of every apply's advisory lock."""


@dataclass(frozen=True, slots=True)
class Head:
    """Newest version of the store. Equal heads mean equal contents, also across restores and fail-overs."""

    version: int
    stamp: UUID

    def __str__(self) -> str:
        return f"{self.version}:{self.stamp}"


EMPTY_HEAD = Head(0, UUID(int=0))
"""The head of a store whose history is gone; a migrated one starts at version 0 with a stamp of its own."""


async def lock_applies(connection: AsyncConnection) -> None:
    """Wait until no other apply runs; held until the transaction ends. Take it before loading."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (APPLY_LOCK,))


async def load_head(connection: AsyncConnection) -> Head:
    """Return the newest version."""
    cursor = await connection.execute("SELECT version, stamp FROM versions ORDER BY version DESC LIMIT 1")
    row = await cursor.fetchone()
    return EMPTY_HEAD if row is None else Head(row[0], row[1])


async def is_in_history(connection: AsyncConnection, seen: Head) -> bool:
    """Return whether ``seen`` is in this store's history; if not, its holder must reload everything."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM versions WHERE version = %s AND stamp = %s)", (seen.version, seen.stamp)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


@dataclass(frozen=True, slots=True)
class PollResult:
    """Result of a poll: the head, and what changed since the one that the runtime serves."""

    head: Head
    known: bool  # whether what it saw is in this store's history
    users: bool  # whether an owner was written since


async def poll_versions(connection: AsyncConnection, seen: Head) -> PollResult:
    """Query the store for a replica that serves ``seen``.

    One round trip, because all replicas ask in the same moment.
    """
    cursor = await connection.execute(_NEWS, {"version": seen.version, "stamp": seen.stamp})
    row = await cursor.fetchone()
    return (
        PollResult(EMPTY_HEAD, False, True)
        if row is None
        else PollResult(Head(row[0], row[1]), row[2], row[3])
    )


_NEWS = """
SELECT v.version, v.stamp,
       EXISTS (SELECT FROM versions WHERE version = %(version)s AND stamp = %(stamp)s),
       EXISTS (SELECT FROM users WHERE version > %(version)s)
FROM versions v ORDER BY v.version DESC LIMIT 1
"""


async def insert_version(connection: AsyncConnection, source: str, commit: str | None, run_id: UUID) -> Head:
    """Insert the next version and return it. Only under ``lock_applies``."""
    cursor = await connection.execute(
        """INSERT INTO versions (version, stamp, source, commit, run_id)
           SELECT coalesce(max(version), 0) + 1, gen_random_uuid(), %s, %s, %s FROM versions
           RETURNING version, stamp""",
        (source, commit, run_id),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  (RETURNING of one inserted row)
    return Head(row[0], row[1])


def notify_listeners(connection: AsyncConnection, to: Head) -> Awaitable[Any]:
    """Notify every listener at commit. A hint only: a reader that misses it finds the version by polling."""
    return connection.execute("SELECT pg_notify(%s, %s)", (VERSIONS_CHANNEL, str(to)))
