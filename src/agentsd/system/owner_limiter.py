"""Concurrency limit that is shared by owners, so that one cannot take all places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OwnerLimiter:
    """Limiter of slow work: a maximum at a time, and a maximum for each owner."""

    def __init__(self, total: int, per_owner: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._per_owner = per_owner
        self._owners: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with the number of waiters and holders

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of ``owner``, and hold it."""
        own, users = self._owners.get(owner) or (asyncio.Semaphore(self._per_owner), 0)
        self._owners[owner] = own, users + 1
        try:
            async with own, self._all:
                yield
        finally:
            own, users = self._owners.pop(owner)
            if users > 1:
                self._owners[owner] = own, users - 1
