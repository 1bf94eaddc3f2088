"""Gate between an answer and the caller: closed while it is not certain that the answer is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from agentsd.core.text.sentences import find_sentence_end
from agentsd.services.voicebot.events import CallEvent
from agentsd.services.voicebot.pipe import Pipe

KEPT_MAX = 512
"""Maximum events behind a closed gate: beyond it the vendors' streams wait."""


class AnswerGate:
    """Gate of one answer. Closed, it keeps the answer's events; it is opened once, and stays open."""

    def __init__(self, events: Pipe[CallEvent], *, is_open: bool = True) -> None:
        self._events = events
        self._kept: list[CallEvent] = []
        self._opened = asyncio.Event()
        if is_open:
            self._opened.set()

    @property
    def is_open(self) -> bool:
        """Return whether events reach the caller."""
        return self._opened.is_set()

    def open(self) -> None:
        """Send what was kept, and everything that follows at once."""
        kept, self._kept = self._kept, []
        for event in kept:
            self._events.push(event)
        self._opened.set()

    async def wait_open(self) -> None:
        """Wait until the answer is certain to be wanted."""
        await self._opened.wait()

    def push(self, event: CallEvent) -> None:
        """Send ``event`` without waiting for room, or keep it."""
        if self.is_open:
            self._events.push(event)
        else:
            self._kept.append(event)

    async def put(self, event: CallEvent) -> None:
        """Send ``event`` when there is room, or keep it."""
        if not self.is_open and len(self._kept) >= KEPT_MAX:
            await self.wait_open()
        if self.is_open:
            await self._events.put(event)
        else:
            self._kept.append(event)

    def discard(self, stale: Callable[[CallEvent], bool]) -> None:
        """Remove every event that is ``stale`` and has not left."""
        self._events.discard(stale)

    async def wait_taken(self, wanted: Callable[[CallEvent], bool]) -> None:
        """Wait until no event of that kind is queued any more."""
        await self._events.wait_taken(wanted)


class FirstSentence(AsyncIterator[str]):
    """Text for the voice of an answer: its first sentence, and the rest once the gate is open."""

    def __init__(self, pieces: AsyncIterator[str], gate: AnswerGate) -> None:
        self._pieces = pieces
        self._gate = gate
        self._given = ""
        self._rest = ""
        self._over = False  # the first sentence was given

    @property
    def characters(self) -> int:
        """Return how many characters the voice got while the gate was closed."""
        return len(self._given)

    async def __anext__(self) -> str:
        if self._over:
            await self._gate.wait_open()
        if self._rest:
            piece, self._rest = self._rest, ""
            return piece
        piece = await anext(self._pieces)
        if self._over or self._gate.is_open:
            return piece
        begun, self._given = len(self._given), self._given + piece
        cut = find_sentence_end(self._given)
        if cut:
            self._over = True
            piece, self._rest = piece[: cut - begun], piece[cut - begun :]
            self._given = self._given[:cut]
        return piece
