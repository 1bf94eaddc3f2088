"""Waiting until every live replica serves a version: what ``sync --wait`` means by done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentsd.core.errors import SyncRefused
from agentsd.store.database import Database
from agentsd.store.replicas import Replica, list_replicas

LIVE_SECONDS = 15.0
"""A replica that was silent for longer is not waited for: it will load everything when it is back."""

STEP = 0.05


class NotConverged(SyncRefused):
    """The sync is applied, but not every replica serves it."""


async def wait_for_replicas(
    database: Database, version: int, timeout: float, progress: Callable[[int, int], None] | None = None
) -> None:
    """Return when all replicas that are live serve ``version`` or newer. Raises ``NotConverged``."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        async with database.transaction(snapshot=True) as conn:
            replicas = await list_replicas(conn, within_seconds=LIVE_SECONDS)
        behind = [replica for replica in replicas if replica.version < version]
        if progress:
            progress(len(replicas) - len(behind), len(replicas))
        if not behind:
            return
        if asyncio.get_running_loop().time() >= deadline:
            raise NotConverged(
                f"version {version} is applied, but not live everywhere: {', '.join(map(_named, behind))}",
                hint="see: agentsd status",
            )
        await asyncio.sleep(STEP)


def _named(replica: Replica) -> str:
    return f"{replica.host}:{replica.pid} at {replica.version}"
