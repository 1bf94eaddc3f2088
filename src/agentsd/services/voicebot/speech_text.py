"""Speakable text: words that a voice can say, from a model's text as it streams. Pure.

Models write Markdown; a voice must not say asterisks, link targets or code. Words pass as soon as
they are whole, so that a vendor which speaks words need not wait for a sentence; one which speaks
sentences finds their ends itself (``providers.transport.text_chunks``), and gets line breaks for
it.
"""

from __future__ import annotations

import re

_LINK = re.compile(r"\[\d+\]|!?\[|\]\([^)\s]*\)?|\]\[[^\]]*\]?")
_MARKS = re.compile(r"[*`~]+|(?<!\w)_+|_+(?!\w)|^#+$|^>+$")
_BARE_URL = re.compile(r"<?https?://\S+?>?(?=[.,;:!?)]*(?:\s|$))")
_BULLETS = frozenset({"-", "*", "+", "•", "|", "---", "***", "___"})
_ENDS = ".,;:!?…"
_FENCE = "```"


class Speakable:
    """Words of one answer. ``take`` each delta, then ``rest``."""

    def __init__(self) -> None:
        self._held = ""
        self._code = False  # between two fences
        self._begun = False

    def take(self, delta: str) -> str:
        """Return what can be spoken now, ending in a space or line break; empty while a word goes on."""
        self._held += delta
        cut = max(self._held.rfind(" "), self._held.rfind("\n"), self._held.rfind("\t")) + 1
        whole, self._held = self._held[:cut], self._held[cut:]
        return self._cleaned(whole) if whole else ""

    def rest(self) -> str:
        """Return the last word."""
        whole, self._held = self._held, ""
        return self._cleaned(whole + " ") if whole else ""

    def _cleaned(self, text: str) -> str:
        said = "".join(self._word(word) for word in re.findall(r"\n+|[^\s]+", text))
        if not self._begun:
            said = said.lstrip()
        self._begun = self._begun or bool(said.strip())
        return said if self._begun else ""

    def _word(self, word: str) -> str:
        if word.startswith("\n"):
            return "" if self._code else "\n"
        if word.startswith(_FENCE):
            self._code = not self._code
            return ""
        if self._code or word in _BULLETS:
            return ""
        clean = _MARKS.sub("", _LINK.sub("", _BARE_URL.sub("", word)))
        return f"{clean} " if any(char.isalnum() for char in clean) or _is_mark(clean, word) else ""


def _is_mark(clean: str, word: str) -> bool:
    """Return whether the signs mean something alone (``&``, ``€``) or end a sentence.

    What cleaning left over is not one.
    """
    return bool(clean) and (clean == word or not clean.strip(_ENDS))
