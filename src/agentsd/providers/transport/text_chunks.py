"""Splitting of a text stream at places where speech may be cut: between words, or between sentences. Pure.

Language models stream fragments (``Hel``, ``lo.``). A vendor that joins what it gets needs whole
words; one that speaks each message on its own needs whole sentences, but not at any price: of a sentence that
is long, or slowly written, the beginning is spoken first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from time import monotonic

from agentsd.core.text.sentences import find_cut, find_last_word_end, find_sentence_end, has_sentence_end

SENTENCE_CHARACTERS_MAX = 240
"""Characters after which a sentence without an end is cut, at a clause if possible."""

SENTENCE_SECONDS_MAX = 0.6
"""Seconds after which the beginning of a sentence that is still being written is spoken."""

SENTENCE_CHARACTERS_MIN = 24
"""Characters of such a beginning: less sounds chopped."""


async def split_words(text: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Split ``text`` between words; a piece ends with a space or ideograph, and contains more than spaces."""
    rest = ""
    async for piece in text:
        rest += piece
        cut = find_last_word_end(rest)
        if cut and rest[:cut].strip():
            yield rest[:cut]
            rest = rest[cut:]
    if rest.strip():
        yield rest.rstrip() + " "


@dataclass(frozen=True, slots=True)
class SpokenWords:
    """Words for a vendor that joins them. ``sentence``: the first sentence ends with them."""

    text: str
    sentence: bool = False


async def split_first_sentence(text: AsyncIterator[str]) -> AsyncGenerator[SpokenWords, None]:
    """Split ``text`` between words, and mark those after which a voice can begin without knowing the rest.

    A vendor that waits for so many characters, or for the end, is asked to speak there, once.
    """
    said: str | None = ""
    async for piece in split_words(text):
        said = None if said is None else said + piece
        ends = said is not None and has_sentence_end(said)
        said = None if ends else said
        yield SpokenWords(piece, ends)


async def split_sentences(
    text: AsyncIterator[str], clock: Callable[[], float] = monotonic
) -> AsyncGenerator[str, None]:
    """Split ``text`` into sentences, without the spaces around them. ``clock`` is in seconds.

    The beginning of a sentence that is long or slowly written ends with the space before its next word.
    """
    rest, began = "", clock()
    async for piece in text:
        began = began if rest else clock()
        rest += piece
        while cut := find_sentence_end(rest) or _find_cut(rest, clock() - began):
            sentence, rest = rest[:cut], rest[cut:]
            if sentence.strip():
                yield sentence.lstrip() if find_sentence_end(sentence) == 0 else sentence.strip()
            began = clock()
    if rest.strip():
        yield rest.strip()


def is_speakable(text: str) -> bool:
    """Return whether ``text`` contains a letter or a digit, so that silence is not a way to say it."""
    return any(char.isalnum() for char in text)


def _find_cut(text: str, seconds: float) -> int:
    """Return where to cut a sentence without an end that is long, or was begun ``seconds`` ago; else 0."""
    if len(text) > SENTENCE_CHARACTERS_MAX:
        return find_cut(text, SENTENCE_CHARACTERS_MAX)
    if seconds >= SENTENCE_SECONDS_MAX and len(text) >= SENTENCE_CHARACTERS_MIN:
        return find_cut(text, len(text))
    return 0
