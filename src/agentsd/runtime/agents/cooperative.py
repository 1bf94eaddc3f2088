"""Cooperative work: long loops that yield to the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

T = TypeVar("T")


class CooperativeYield:
    """Pause of ``rest_s`` seconds for the event loop after every ``slice_s`` seconds of work.

    The default keeps the loop's pauses under about 5 ms: 2 ms of work and one more document.
    """

    def __init__(self, slice_s: float = 0.002, rest_s: float = 0.0) -> None:
        self._slice = slice_s
        self._rest = rest_s
        self._since = time.perf_counter()

    async def turn(self) -> None:
        """Yield if the slice is used up."""
        if time.perf_counter() - self._since >= self._slice:
            await asyncio.sleep(self._rest)
            self._since = time.perf_counter()


async def process_each(
    items: Collection[T], work: Callable[[T], Awaitable[None]], pacer: CooperativeYield, limit: int = 4
) -> None:
    """Do ``work`` on every item, ``limit`` at a time.

    Most documents open in process without ever waiting; those that need the sops program or a
    key service wait for it, and would delay the others if they went one by one.
    """
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)
            await pacer.turn()

    if len(items) == 1:
        await worker()
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(min(limit, len(items))):
            group.create_task(worker())
