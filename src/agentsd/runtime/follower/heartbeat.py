"""Heartbeat: reports to the store that this replica lives, what it serves, what is degraded or fails."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from uuid import UUID

from agentsd.runtime.agents.registry import Registry
from agentsd.store.database import Database
from agentsd.store.queries import replicas
from agentsd.store.queries.versions import Head, load_head
from agentsd.supervisor import Supervisor

BEAT_SECONDS = 10.0

_BEAT_GAP_SECONDS = 0.1  # at most ten heartbeats a second, however fast versions change
_SPREAD_SHARE = 0.1  # s
_GOODBYE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """Heartbeat of one replica."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        supervisor: Supervisor,
        replica_id: UUID,
        beat_s: float,
    ) -> None:
        self._database = database
        self._registry = registry
        self._supervisor = supervisor
        self._id = replica_id
        self._beat_s = beat_s
        self._now = asyncio.Event()

    def soon(self) -> None:
        """Send the next heartbeat soon, because there is news to report."""
        self._now.set()

    async def beats(self) -> AsyncIterator[Head]:
        """Beat until cancelled; yield the store's head at every beat that arrived."""
        while True:
            self._now.clear()
            try:
                async with self._database.transaction() as connection:
                    await replicas.record_heartbeat(connection, self._replica())
                    now = await load_head(connection)
            except Exception as error:  # the next one may succeed; the follower reports the outage
                _log.debug("a heartbeat failed", extra={"error": type(error).__name__})
            else:
                yield now
            await asyncio.sleep(_BEAT_GAP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat_s):
                    await self._now.wait()
            # All replicas are notified at the same moment: let them load before they write heartbeats.
            await asyncio.sleep(random.uniform(0, _SPREAD_SHARE))  # noqa: S311  (jitter)

    async def goodbye(self) -> None:
        """Leave the list of replicas, if Postgres can be reached."""
        with suppress(Exception):
            async with asyncio.timeout(_GOODBYE_SECONDS), self._database.transaction() as connection:
                await replicas.remove_replica(connection, self._id)

    def _replica(self) -> replicas.Replica:
        degraded = [
            {"slug": slug, "type": said.type, "reason": said.reason, "message": said.message}
            for slug, said in self._registry.problems()
        ]
        return replicas.Replica(
            id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._registry.told,
            degraded=degraded,
            unopened=self._registry.openings.unopened(self._registry.told),
            failing_tasks=[asdict(one) for one in self._supervisor.failing()],
        )
