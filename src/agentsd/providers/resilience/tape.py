"""Recording of a caller's input, piece by piece, kept until the answer begins, so that it can be sent again.

Speech and text come once. If a vendor fails before its first byte, the next try must get what
the first one got already, and then go on with what is still coming.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sized
from time import perf_counter
from types import TracebackType
from typing import Generic, Self, TypeVar

S = TypeVar("S", bound=Sized)

TAPE_BYTES_MAX = 32 << 20
"""Characters or bytes that are kept; of more, nothing can be sent again (a minute of speech is 2 MB)."""


class Tape(Generic[S]):
    """Recording that reads ``source`` on demand. ``async with Tape(source) as tape: tape.play()``.

    One task reads, whichever player runs: a player that is cancelled cancels neither the source nor the
    piece that is on its way. A failure of the source is raised to the player, and kept: it is the
    caller's, not the vendor's.
    """

    def __init__(self, source: AsyncIterator[S], *, limit: int = TAPE_BYTES_MAX) -> None:
        self.failure: Exception | None = None
        self.began = 0.0  # when the first piece was handed out, by ``perf_counter``
        self.latest = 0.0  # and the last one
        self._source = source
        self._room = limit
        self._pieces: list[S] = []
        self._dropped = 0  # pieces that are no longer kept
        self._keeping = True
        self._over = False
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def whole(self) -> bool:
        """Return whether everything can be played again."""
        return self._dropped == 0

    def let_go(self) -> None:
        """Give up playing again: keep no more than what is not played yet."""
        self._keeping = False

    async def play(self) -> AsyncGenerator[S, None]:
        """Yield the input from the beginning, then as it comes. One player at a time."""
        position = 0
        while True:
            if position < self._dropped + len(self._pieces):
                piece = self._pieces[position - self._dropped]
                position += 1
                self._forget(position)
                self.latest = perf_counter()
                self.began = self.began or self.latest
                yield piece
            elif self._over:
                if self.failure is not None:
                    raise self.failure
                return
            else:
                self._news.clear()
                self._wanted.set()
                await self._news.wait()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._task = self.failure = (
            None  # an error refers to the frames that it was raised in, and so to this
        )

    async def _read(self) -> None:
        try:
            await self._wanted.wait()
            async for piece in self._source:
                self._pieces.append(piece)
                self._room -= len(piece)
                self._keeping = self._keeping and self._room >= 0
                self._wanted.clear()
                self._news.set()
                await self._wanted.wait()
        except Exception as error:
            self.failure = error
        finally:
            self._over = True
            self._news.set()

    def _forget(self, position: int) -> None:
        if not self._keeping:
            del self._pieces[: position - self._dropped]
            self._dropped = position
