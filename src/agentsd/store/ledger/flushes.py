"""Flushes of replicas, each numbered, so that one whose commit was not confirmed is added once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from psycopg import AsyncConnection

FLUSHES_KEPT = timedelta(days=7)
"""A replica that was silent for so long has ended; what it tried last was given up."""


async def claim_flush(connection: AsyncConnection, replica: UUID, number: int) -> bool:
    """Return whether flush ``number`` of ``replica`` is new. Its content belongs into this transaction."""
    cursor = await connection.execute(
        """INSERT INTO ledger_flushes AS f (replica, number) VALUES (%s, %s)
           ON CONFLICT (replica) DO UPDATE SET number = excluded.number, at = now()
           WHERE f.number < excluded.number""",
        (replica, number),
    )
    return cursor.rowcount == 1


async def prune_flushes(connection: AsyncConnection) -> int:
    """Remove the numbers of replicas that ended long ago. Return how many."""
    cursor = await connection.execute("DELETE FROM ledger_flushes WHERE at < now() - %s", (FLUSHES_KEPT,))
    return cursor.rowcount
