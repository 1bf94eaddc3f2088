"""Sentence that a caller hears while tools run: ``say`` of one that takes longer than ``say_after_ms``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentsd.services.tools.events import ToolCall

Say = Callable[[str], Awaitable[None]]


class ToolFiller:
    """Clock of the calls of one answer. ``say`` writes a sentence into it.

    ``playing``: seconds that the sound so far goes on; ``written``: characters of the answer. Where the model
    itself has said something in the same round, nothing is added.
    """

    def __init__(self, say: Say, playing: Callable[[], float], written: Callable[[], int]) -> None:
        self._say = say
        self._playing = playing
        self._written = written  # characters so far
        self._before = 0  # characters before the present round
        self._waits: list[tuple[ToolCall, asyncio.Task[None]]] = []
        self._saying: asyncio.Task[None] | None = None

    def begin(self, call: ToolCall, text: str, after_ms: int) -> None:
        """Say ``text`` in ``after_ms`` milliseconds, if ``call`` has not ended and nothing was said then."""
        self._waits.append((call, asyncio.create_task(self._wait(text, after_ms / 1000))))

    async def end(self, call: ToolCall) -> None:
        """Take note that ``call`` has ended. A sentence that was begun is written to its end."""
        for one in [one for one in self._waits if one[0] is call]:
            self._waits.remove(one)
            await self._stop(one[1])
        if not self._waits:
            self._before = self._written()

    def close(self) -> None:
        """Say nothing more."""
        for _, task in self._waits:
            task.cancel()
        self._waits.clear()

    async def _wait(self, text: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while (left := self._playing()) > 0:  # noqa: ASYNC110  (a clock)
            await asyncio.sleep(left + seconds)
        if self._written() == self._before and self._saying is None:
            self._saying = asyncio.current_task()
            try:
                await self._say(text)
            finally:
                self._saying = None

    async def _stop(self, task: asyncio.Task[None]) -> None:
        if task is not self._saying:
            task.cancel()
        await asyncio.wait((task,))
