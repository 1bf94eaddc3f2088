"""Calls of tools that go on after their turn: each keeps the turn's lease until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any

from agentsd.services.voicebot.turns import CallTurn


class LeftCalls:
    """Such calls of one call of a caller. Once that is over, ``close`` cancels them."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, turn: CallTurn, lease: AsyncExitStack) -> None:
        """Take over the lease of a turn that ends, if a call of its answer goes on."""
        kept = tuple(turn.answer.server_calls.kept) if turn.answer is not None else ()
        if kept and self._closed:
            await _cancel(kept)
        elif kept:
            task = asyncio.create_task(_hold(kept, lease.pop_all()))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def close(self) -> None:
        """Cancel everything: nobody is left to hear of it."""
        self._closed = True
        for task in self.tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until everything has ended, and every lease is given back."""
        if self.tasks:
            await asyncio.wait(self.tasks)


async def _hold(kept: Collection[asyncio.Future[Any]], lease: AsyncExitStack) -> None:
    async with lease:
        try:
            await asyncio.wait(kept)
        finally:
            await _cancel(kept)


async def _cancel(kept: Collection[asyncio.Future[Any]]) -> None:
    for one in kept:
        one.cancel()
    await asyncio.wait(kept)
