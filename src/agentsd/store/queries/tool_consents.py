"""Consent of users to calls of tools: asked for in one turn, given in the next one, used once.

A row contains a hash of agent, tool and arguments, nothing of the conversation itself.
"""

from __future__ import annotations

from collections.abc import Collection

from psycopg import AsyncConnection

KEPT_MINUTES = 60
"""Age at which a request for consent is void, and removed."""


async def insert_consent(connection: AsyncConnection, conversation: str, token: bytes, call: bytes) -> None:
    """Note that the holder of ``token`` (a digest) is asked for a call in ``conversation``."""
    await connection.execute(
        "DELETE FROM tool_consents WHERE requested_at < now() - make_interval(mins => %s)", (KEPT_MINUTES,)
    )
    await connection.execute(
        """INSERT INTO tool_consents (conversation, token, call) VALUES (%s, %s, %s)
           ON CONFLICT (conversation, token, call) DO UPDATE SET granted = false, requested_at = now()""",
        (conversation, token, call),
    )


async def grant_consents(connection: AsyncConnection, conversation: str, token: bytes) -> None:
    """Record that the user spoke: what was asked for may be done now, what was not done before may not."""
    await connection.execute(
        "DELETE FROM tool_consents WHERE conversation = %s AND token = %s AND granted", (conversation, token)
    )
    await connection.execute(
        "UPDATE tool_consents SET granted = true WHERE conversation = %s AND token = %s",
        (conversation, token),
    )


async def take_consent(
    connection: AsyncConnection, conversations: Collection[str], token: bytes, call: bytes, *, asked: bool
) -> bool:
    """Return whether the call was granted, and use that up.

    ``asked``: it suffices that the user was asked, since the answer came with the request.
    """
    cursor = await connection.execute(
        """DELETE FROM tool_consents
           WHERE conversation = ANY(%s) AND token = %s AND call = %s AND (granted OR %s)
             AND requested_at > now() - make_interval(mins => %s)
           RETURNING call""",
        (list(conversations), token, call, asked, KEPT_MINUTES),
    )
    return await cursor.fetchone() is not None
