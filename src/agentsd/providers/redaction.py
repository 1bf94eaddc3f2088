"""Masking of a provider's own secrets in its answers. Pure.

If a vendor quotes the key that it was given, in a text that is meant for a client, the key must not
appear. Texts come in pieces, so a key may be cut between two of them: ``RedactedStream`` holds back
what may become one. At most ``HOLD_AFTER`` - 1 characters of a key, its beginning, leave before
that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from agentsd.core.secret import MASK

SECRET_MIN = 12
"""Characters of the shortest secret that is masked in texts: `none` or `dummy` are words as well as keys."""
HOLD_AFTER = 8
"""Characters of a secret at the end of a piece from which on the rest is held back."""


class Redactor:
    """Mask for whole secrets in whole texts."""

    __slots__ = ("_all", "masked")

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for secret in secrets if secret for form in _forms(secret)}
        self._all = tuple(sorted(known, key=len, reverse=True))
        self.masked = tuple(secret for secret in self._all if len(secret) >= SECRET_MIN)  # longest first

    def redact(self, text: str) -> str:
        """Return ``text`` with a mask in the place of each secret."""
        for secret in self.masked:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def touches(self, word: str) -> bool:
        """Return whether ``word``, an identifier, contains a secret or is a large part of one."""
        return any(secret in word or (len(word) >= HOLD_AFTER and word in secret) for secret in self._all)


def _forms(secret: str) -> set[str]:
    """Return ``secret`` as texts, URLs, HTML and JSON within a text (a tool call's arguments) contain it."""
    in_json = json.dumps(secret)[1:-1]
    return {secret, quote(secret, safe=""), escape(secret), in_json, in_json.replace("/", "\\/")}


class RedactedStream:
    """Mask for secrets in one text that comes in pieces."""

    __slots__ = ("_firsts", "_secrets", "_sent", "_tail")

    def __init__(self, redactor: Redactor) -> None:
        self._secrets = redactor.masked
        self._firsts = {secret[0] for secret in self._secrets}
        self._tail = ""  # the end of the text so far, where it is the beginning of a secret
        self._sent = 0  # characters of it that have left already

    def take(self, piece: str) -> str:
        """Return the text that may leave now. Text held back at the end is never sent."""
        if not self._tail:
            for first in self._firsts:  # a loop: this runs for each piece of each answer
                if first in piece:
                    break
            else:
                return piece
        text, sent, at, out = self._tail + piece, self._sent, 0, []
        while (found := self._next(text, at)) is not None:
            start, end = found
            out += [text[max(at, sent) : start], MASK]
            at = end
        kept = self._beginning(text, at)
        begins = len(text) - kept
        cut = max(at, sent, begins + HOLD_AFTER - 1) if kept >= HOLD_AFTER else len(text)
        out.append(text[max(at, sent) : cut])
        self._tail, self._sent = text[begins:], max(0, cut - begins)
        return "".join(out)

    def _next(self, text: str, at: int) -> tuple[int, int] | None:
        """Return the first secret at or after ``at``, as start and end."""
        hits = [(start, -len(secret)) for secret in self._secrets if (start := text.find(secret, at)) >= 0]
        if not hits:
            return None
        start, size = min(hits)
        return start, start - size

    def _beginning(self, text: str, at: int) -> int:
        """Return how many characters at the end of ``text`` are the beginning of a secret."""
        return max((_measure_overlap(text, at, secret) for secret in self._secrets), default=0)


def _measure_overlap(text: str, at: int, secret: str) -> int:
    start = max(at, len(text) - len(secret) + 1)
    while (start := text.find(secret[0], start)) >= 0:
        if secret.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
