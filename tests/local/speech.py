"""Ten sentences, and how many of their words were heard."""

from __future__ import annotations

import re
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

SENTENCES = (
    "The train to London leaves at seven in the morning.",
    "Please send me the report before the end of the day.",
    "My sister bought a small house near the river.",
    "The weather will be sunny and warm this weekend.",
    "He wants to learn how to play the piano.",
    "We need to buy bread, milk and some fresh apples.",
    "The meeting has been moved to Thursday afternoon.",
    "She opened the window and looked at the garden.",
    "There are twenty students in the classroom today.",
    "I would like to reserve a table for two people.",
)
NUMBERS = {"2": "two", "7": "seven", "20": "twenty"}


def words(text: str) -> list[str]:
    """Lower case, without punctuation (``to-day`` is ``today``), digits as words."""
    return [NUMBERS.get(word, word) for word in re.findall(r"[a-z']+|\d+", text.lower().replace("-", ""))]


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """(words that were changed, left out or made up; words that were said): Levenshtein's distance."""
    wanted, got = words(said), words(heard)
    row = list(range(len(got) + 1))
    for index, word in enumerate(wanted, 1):
        before, row[0] = row[0], index
        for column, other in enumerate(got, 1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (word != other)),
            )
    return row[-1], len(wanted)


def error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Word error rate over (said, heard) pairs."""
    counts = [word_errors(said, heard) for said, heard in pairs]
    return sum(wrong for wrong, _ in counts) / sum(total for _, total in counts)


def resampled(pcm: bytes, rate: int, wanted: int) -> bytes:
    """``pcm`` at another rate, linearly: good enough for a recogniser, and depends on nothing."""
    if rate == wanted:
        return pcm
    samples = array("h", pcm)
    count = int(len(samples) * wanted / rate)
    out = array("h", bytes(2 * count))
    for index in range(count):
        at = index * rate / wanted
        left = int(at)
        right = min(left + 1, len(samples) - 1)
        out[index] = round(samples[left] + (samples[right] - samples[left]) * (at - left))
    return out.tobytes()


async def spoken(tts: Any, text: str) -> bytes:
    """All PCM of ``text``."""
    return b"".join([piece async for piece in tts.stream(once(text))])


async def heard(stt: Any, pcm: bytes) -> str:
    """All final text of ``pcm``, sent as a microphone does, with silence around it."""
    silence = bytes(2 * stt.sample_rate // 2)
    sound = in_pieces(silence + pcm + silence, stt.sample_rate // 5)
    return " ".join([each.text async for each in stt.stream(sound) if each.final])


async def once(text: str) -> AsyncIterator[str]:
    """``text`` as a stream."""
    yield text


async def in_pieces(pcm: bytes, size: int) -> AsyncIterator[bytes]:
    """``pcm`` piece by piece."""
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


def loudness(pcm: bytes) -> float:
    """Root mean square of the samples."""
    samples: Sequence[int] = array("h", pcm)
    return (sum(sample * sample for sample in samples) / max(1, len(samples))) ** 0.5
