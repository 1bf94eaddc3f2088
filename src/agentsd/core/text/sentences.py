"""Ends of sentences and words in every script, for text that is spoken while it is written. Pure.

The ends are Unicode's Sentence_Terminal (https://www.unicode.org/reports/tr29/#Sentence_Boundaries). Thai,
Lao, Khmer and Burmese separate sentences by spaces; Chinese and Japanese have no spaces between words.
"""

from __future__ import annotations

import re
import unicodedata

IDEOGRAPHS = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
"""Characters of Chinese and Japanese, punctuation included, as a class of a regular expression."""

_CLOSERS = "\"'”’»)\\]」』）】》"
_SPACED_ENDS = ".!?…"
"""Signs that end a sentence only before a space: they also stand in numbers, names and addresses."""
_SURE_ENDS = "。！？｡।॥؟۔։።፧፨။។៕᠃᠉꓿꘎꘏꛳꛷꡶꡷꣎꣏꧈꧉꯫⁇⁈⁉‼"
_SPACE_ENDED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_SENTENCE_END = re.compile(
    rf"[{_SPACED_ENDS}]+[{_CLOSERS}]*\s+"
    rf"|[{_SURE_ENDS}]+[{_CLOSERS}]*\s*"
    rf"|(?<=[{_SPACE_ENDED}])\s+(?=[{_SPACE_ENDED}])"
    rf"|\n+"
)
_CLAUSE_END = re.compile(rf"[,;:—–،؛、，；：·]+[{_CLOSERS}]*\s*")
_WORD_END = re.compile(rf"\s+|[{IDEOGRAPHS}]")


def find_sentence_end(text: str) -> int:
    """Return the index after the first sentence that is surely over; 0 if none is."""
    match = _SENTENCE_END.search(text)
    return match.end() if match else 0


def has_sentence_end(text: str) -> bool:
    """Return whether a sentence of ``text`` is over."""
    return _SENTENCE_END.search(text) is not None


def find_last_start(text: str, at: int) -> int:
    """Return where the sentence begins that contains index ``at``."""
    return max((match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= at), default=0)


def find_last_word_end(text: str) -> int:
    """Return the index after the last whole word; 0 without one. An ideograph is a word."""
    return max((match.end() for match in _WORD_END.finditer(text)), default=0)


def find_cut(text: str, limit: int) -> int:
    """Return where to cut a sentence without an end within ``limit`` characters: at the last clause.

    Otherwise between words, otherwise before a character that combines with nothing.
    """
    head = text[:limit]
    clause = max((match.end() for match in _CLAUSE_END.finditer(head)), default=0)
    return clause or find_last_word_end(head) or _find_base(text, limit)


def _find_base(text: str, at: int) -> int:
    at = min(at, len(text))
    while 0 < at < len(text) and unicodedata.category(text[at]).startswith("M"):
        at -= 1
    return at or min(len(text), 1)
