"""The audit: who did what to which agent. Never a secret, a prompt or a transcript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from psycopg import AsyncConnection


async def record(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Keep one deed: ``record(conn, actor="acme/ci", action="select", target="acme/sales")``."""
    await connection.execute(
        "INSERT INTO audit (actor, action, target, detail) VALUES (%s, %s, %s, %s)",
        (actor, action, target, orjson.dumps(dict(detail or {})).decode()),
    )
