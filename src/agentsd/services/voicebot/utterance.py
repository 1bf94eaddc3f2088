"""Utterance of a caller: fed while it is spoken, read once while it is recognised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentsd.audio.resampler import SAMPLE_BYTES, Resampler
from agentsd.providers.base import Transcript
from agentsd.services.voicebot.conversation import make_id
from agentsd.services.voicebot.pipe import Pipe


class Utterance:
    """PCM at ``rate``, at most ``max_seconds`` of it: the rest is dropped (``full``)."""

    def __init__(self, rate: int, max_seconds: float) -> None:
        self.item = make_id("item")
        self.rate = rate
        self.ended = asyncio.Event()
        self._left = int(max_seconds * rate) * SAMPLE_BYTES
        self._size = 0
        self._chunks: Pipe[bytes] = Pipe(1, len)  # filled by ``push`` only: ``_left`` is its bound

    @property
    def full(self) -> bool:
        """Return whether its room is used up."""
        return self._left <= 0

    @property
    def seconds(self) -> float:
        """Return how long it is so far."""
        return self._size / (self.rate * SAMPLE_BYTES)

    @property
    def waiting(self) -> int:
        """Return the number of bytes that no recogniser has taken yet."""
        return self._chunks.weight

    def put(self, pcm: bytes) -> None:
        """Add sound."""
        pcm = pcm[: max(0, self._left)]
        self._left -= len(pcm)
        self._size += len(pcm)
        if pcm:
            self._chunks.push(pcm)

    def end(self) -> None:
        """Note that the caller has finished."""
        self._chunks.end()
        self.ended.set()

    def sound(self, rate: int) -> AsyncIterator[bytes]:
        """Return it at another rate, as it is spoken."""
        return _UtteranceSound(self._chunks, Resampler(self.rate, rate))


class _UtteranceSound(AsyncIterator[bytes]):
    """Iterator, not a generator: a recogniser that leaves half-way leaves nothing to be closed."""

    def __init__(self, chunks: Pipe[bytes], resampler: Resampler) -> None:
        self._chunks = chunks
        self._resampler = resampler
        self._over = False

    async def __anext__(self) -> bytes:
        while not self._over:
            await self._chunks.wait()
            waiting = b"".join(self._chunks.take())
            self._over = self._chunks.ended
            pcm = self._resampler.take(waiting, last=self._over)
            if pcm:
                return pcm
        raise StopAsyncIteration


class TranscriptBuilder:
    """Transcripts joined as they come: final ones follow each other, partial ones are replaced."""

    def __init__(self) -> None:
        self._final = ""
        self._partial = ""
        self._told = ""

    @property
    def text(self) -> str:
        """Return all that was recognised."""
        return _join_texts(self._final, self._partial)

    def take(self, transcript: Transcript) -> str:
        """Return what is new.

        It is empty where a partial transcript removed words, until they are there again.
        """
        if transcript.final:
            self._final, self._partial = _join_texts(self._final, transcript.text.strip()), ""
        else:
            self._partial = transcript.text.strip()
        text = self.text
        if not text.startswith(self._told):
            return ""
        delta, self._told = text[len(self._told) :], text
        return delta


def _join_texts(first: str, second: str) -> str:
    return f"{first} {second}" if first and second else first or second
