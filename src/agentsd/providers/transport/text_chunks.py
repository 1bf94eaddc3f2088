"""Splitting of a text stream at places where speech may be cut: between words, or between sentences. Pure.

Language models stream fragments (``Hel``, ``lo.``). A vendor that joins what it gets needs whole
words; one that speaks each message on its own needs whole sentences.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator

_SENTENCE = re.compile(r"[.!?…。！？]+[\"'”’)\]]*\s+|[。！？]+|\n+")
SENTENCE_CHARACTERS_MAX = 600
"""Characters after which a sentence without an end is cut at a space."""


async def split_words(text: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Split ``text`` between words; each piece ends with a space, and contains more than spaces."""
    rest = ""
    async for piece in text:
        rest += piece
        cut = _find_last_space(rest)
        if cut and rest[:cut].strip():
            yield rest[:cut]
            rest = rest[cut:]
    if rest.strip():
        yield rest.rstrip() + " "


async def split_sentences(text: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Split ``text`` into sentences, without the spaces around them."""
    rest = ""
    async for piece in text:
        rest += piece
        while cut := _find_sentence_end(rest):
            sentence, rest = rest[:cut].strip(), rest[cut:]
            if sentence:
                yield sentence
    if rest.strip():
        yield rest.strip()


def is_speakable(text: str) -> bool:
    """Return whether ``text`` contains a letter or a digit, so that silence is not a way to say it."""
    return any(char.isalnum() for char in text)


def _find_last_space(text: str) -> int:
    """Return the index after the last space; 0 without one."""
    return next((index for index in range(len(text), 0, -1) if text[index - 1].isspace()), 0)


def _find_sentence_end(text: str) -> int:
    """Return the index after the first sentence that is surely over; 0 if none is."""
    match = _SENTENCE.search(text)
    if match:
        return match.end()
    return (
        _find_last_space(text[:SENTENCE_CHARACTERS_MAX]) or SENTENCE_CHARACTERS_MAX
        if len(text) > SENTENCE_CHARACTERS_MAX
        else 0
    )
