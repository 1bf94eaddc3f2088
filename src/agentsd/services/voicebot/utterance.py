"""Utterance of a caller: fed while it is spoken, read while it is recognised, and again if that fails.

A pause ends a *part*: the recogniser is told to finish it beside the wait for the end of the turn. If
the caller goes on, a new part begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentsd.audio.resampler import SAMPLE_BYTES, Resampler
from agentsd.providers.base import Transcript
from agentsd.services.voicebot.conversation import make_id


class UtterancePart:
    """Speech between two pauses. Its sound is kept until ``free``, so that it can be recognised again."""

    def __init__(self) -> None:
        self.size = 0  # bytes that are kept
        self.taken = 0  # bytes that a recogniser has got
        self._chunks: list[bytes] = []
        self._news = asyncio.Event()
        self._over = False

    def put(self, pcm: bytes) -> None:
        """Add sound."""
        self._chunks.append(pcm)
        self.size += len(pcm)
        self._news.set()

    def end(self) -> None:
        """Note that nothing more comes."""
        self._over = True
        self._news.set()

    def free(self) -> None:
        """Forget the sound, which has been recognised."""
        self._chunks.clear()
        self.size = self.taken = 0

    async def read(self, position: int) -> list[bytes]:
        """Return the chunks from ``position`` on; wait until there are some. Empty at the end."""
        while position >= len(self._chunks) and not self._over:
            self._news.clear()
            await self._news.wait()
        chunks = self._chunks[position:]
        self.taken = self.size
        return chunks

    def is_over(self, position: int) -> bool:
        """Return whether nothing follows ``position``."""
        return self._over and position >= len(self._chunks)

    def sound(self, source: int, target: int) -> AsyncIterator[bytes]:
        """Return the sound from its beginning, as it comes, at ``target`` instead of ``source`` hertz."""
        return _PartSound(self, Resampler(source, target))


class Utterance:
    """PCM at ``rate``, at most ``max_seconds`` of it: the rest is dropped (``full``)."""

    def __init__(self, rate: int, max_seconds: float) -> None:
        self.item = make_id("item")
        self.rate = rate
        self.ended = asyncio.Event()
        self._left = int(max_seconds * rate) * SAMPLE_BYTES
        self._size = 0
        self._parts = [UtterancePart()]
        self._more = asyncio.Event()  # another part has begun, or the utterance has ended
        self._pause: list[bytes] | None = None  # sound since the pause began

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
        return sum(part.size - part.taken for part in self._parts)

    @property
    def kept(self) -> int:
        """Return the bytes of sound in memory."""
        return sum(part.size for part in self._parts)

    def put(self, pcm: bytes) -> None:
        """Add sound."""
        pcm = pcm[: max(0, self._left)]
        self._left -= len(pcm)
        self._size += len(pcm)
        if pcm and self._pause is not None:
            self._pause.append(pcm)
        elif pcm:
            self._parts[-1].put(pcm)

    def pause(self) -> None:
        """End the part: the caller is silent, and may have finished."""
        if self._pause is None:
            self._pause = []
            self._parts[-1].end()

    def pauses_before(self, part: int) -> bool:
        """Return whether the caller is silent, and has said nothing after the part before ``part``."""
        return self._pause is not None and part >= len(self._parts) and not self.ended.is_set()

    def resume(self) -> bool:
        """Begin another part, with the sound since the pause: the caller goes on. False without a pause."""
        if self._pause is None:
            return False
        between, self._pause = self._pause, None
        part = UtterancePart()
        for pcm in between:
            part.put(pcm)
        self._parts.append(part)
        self._more.set()
        return True

    def end(self) -> None:
        """Note that the caller has finished."""
        self._parts[-1].end()
        self.ended.set()
        self._more.set()

    async def has_part(self, number: int) -> bool:
        """Return whether there is a part ``number`` (from 0); wait until it begins or the utterance ends."""
        while number >= len(self._parts) and not self.ended.is_set():
            self._more.clear()
            await self._more.wait()
        return number < len(self._parts)

    def sound(self, rate: int, part: int = 0) -> AsyncIterator[bytes]:
        """Return a part from its beginning, as it is spoken, at another rate."""
        return self._parts[part].sound(self.rate, rate)

    def free(self, part: int) -> None:
        """Forget the sound of a part, which has been recognised."""
        self._parts[part].free()


class _PartSound(AsyncIterator[bytes]):
    """Iterator, not a generator: a recogniser that leaves half-way leaves nothing to be closed."""

    def __init__(self, part: UtterancePart, resampler: Resampler) -> None:
        self._part = part
        self._resampler = resampler
        self._position = 0
        self._over = False

    async def __anext__(self) -> bytes:
        while not self._over:
            chunks = await self._part.read(self._position)
            self._position += len(chunks)
            self._over = self._part.is_over(self._position)
            pcm = self._resampler.take(b"".join(chunks), last=self._over)
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

    def keep(self) -> None:
        """Take what there is as final: another part of the speech follows."""
        self._final, self._partial = self.text, ""

    def restore(self, text: str) -> None:
        """Go back to ``text``: what follows it is recognised again. What was reported is not taken back."""
        self._final, self._partial = text, ""

    @property
    def final(self) -> str:
        """Return what will not change."""
        return self._final

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
