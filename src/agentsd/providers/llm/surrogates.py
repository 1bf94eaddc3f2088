"""Joining of characters that a vendor cut in two. Pure.

Python and JavaScript write a character beyond U+FFFF as a pair of escapes, and tokenizers cut inside of a
character. A JSON text with half a pair, or with half a character in UTF-8, is read with the half as a
surrogate (``errors="surrogateescape"`` for bytes); here the halves of two pieces meet.
"""

from __future__ import annotations

import codecs
import re

_BYTES = re.compile("[\udc80-\udcff]+")
_HALVES = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def is_encodable(text: str) -> bool:
    """Return whether ``text`` contains no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def join_halves(held: str, text: str) -> tuple[str, str]:
    """Return the text that may leave now, and the half at its end that waits for the next piece."""
    text = (held + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    rest = ""
    if "\ud800" <= text[-1:] <= "\udbff":
        text, rest = text[:-1], text[-1]

    def decode(run: re.Match[str]) -> str:
        nonlocal rest
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        at_end = run.end() == len(text) and not rest
        out = decoder.decode(run.group().encode("utf-8", "surrogateescape"), final=not at_end)
        if at_end:
            rest = decoder.getstate()[0].decode("utf-8", "surrogateescape")
        return out

    return _HALVES.sub(REPLACEMENT, _BYTES.sub(decode, text)), rest
