"""Verifier: opens, in the background, agents that were not requested yet, so that every agent's
condition is known without delaying readiness, requests or swaps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agentsd.runtime.agents.registry import Registry
from agentsd.supervisor import Supervisor

RETRY_SECONDS = 30.0
"""Interval of retries for agents with temporary failures (a key service, the store)."""

_log = logging.getLogger(__name__)


class Verifier:
    """Background task over the registry's unopened agents. ``run`` ends only when cancelled."""

    def __init__(self, registry: Registry, *, retry_s: float = RETRY_SECONDS) -> None:
        self._registry = registry
        self._retry_s = retry_s
        self._going = asyncio.Event()
        self._going.set()
        self.done: Callable[[], None] = lambda: None  # called when every agent was opened once

    def pause(self) -> None:
        """Stop after the few documents at hand."""
        self._going.clear()

    def resume(self) -> None:
        """Continue verifying."""
        self._going.set()

    async def run(self, supervisor: Supervisor) -> None:
        """Verify new entries, and retry failures that may be temporary."""
        await supervisor.run({"verify_new": self._walk, "verify_again": self._retry})

    async def _walk(self) -> None:
        while True:
            await self._registry.openings.waiting.wait()
            await self._going.wait()
            if not await self._registry.openings.verify():
                version = self._registry.snapshot.version
                _log.info("every agent was opened once", extra={"version": version})
                self.done()

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(self._retry_s)
            await self._going.wait()
            await self._registry.openings.verify_again()
