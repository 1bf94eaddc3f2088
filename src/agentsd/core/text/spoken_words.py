"""Words of a transcript: whether they interrupt, are a listener's sounds, or the agent's own voice. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

_NOT_WORD = re.compile(r"[^\w\s]|_")

ECHO_SHARE = 0.75
"""Share of a transcript's words, in order, that make it an echo of what the agent has said."""

SUSPECTED_ECHO_SHARE = 0.5
"""The same where the sound resembles what was played as well."""

ECHO_WORDS_MIN = 6
"""Fewer words may be the caller's own, who repeats them, unless the sound resembles what was played."""


def split_words(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, without punctuation: "Mm-hmm." is ``mmhmm``."""
    return _NOT_WORD.sub("", text.casefold()).split()


def is_ignored(text: str, ignore: Sequence[str]) -> bool:
    """Return whether ``text`` consists of phrases of ``ignore`` alone. Text without words does not."""
    words = split_words(text)
    phrases = sorted((phrase for one in ignore if (phrase := split_words(one))), key=len, reverse=True)
    while words:
        found = next((phrase for phrase in phrases if words[: len(phrase)] == phrase), None)
        if found is None:
            return False
        words = words[len(found) :]
    return bool(split_words(text))


def count_words(text: str, ignore: Sequence[str] = ()) -> int:
    """Return how many words of ``text`` are a contribution: none where all of it is ignored."""
    return 0 if is_ignored(text, ignore) else len(split_words(text))


def is_echo(text: str, spoken: str, *, suspected: bool = False) -> bool:
    """Return whether ``text`` repeats what the agent has just ``spoken``.

    ``suspected``: the sound resembles the agent's, so fewer equal words are enough.
    """
    words, said = split_words(text), split_words(spoken)
    if not words or (len(words) < ECHO_WORDS_MIN and not suspected):
        return False
    blocks = SequenceMatcher(None, words, said, autojunk=False).get_matching_blocks()
    share = sum(block.size for block in blocks) / len(words)
    return share >= (SUSPECTED_ECHO_SHARE if suspected else ECHO_SHARE)
