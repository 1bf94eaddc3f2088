"""Rules for which leaves of a file are sealed: sops' six, at most one to a file (sops.go).

Suffixes and regular expressions are matched with a leaf's key and every ancestor's. sops uses RE2;
only patterns that Python's ``re`` reads alike, and in bounded time, are tried here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agentsd.core.errors import SealMalformed, SealUnsure

NAMES = (
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
)
_KEY_MAX = 128
_FOLDS_TO_ASCII = frozenset("\u017f\u212a")  # ſ and K (kelvin): equal to s and k for RE2 only
_QUANTIFIERS_MAX = 2  # the cost of backtracking grows with their power
_TOKEN = re.compile(
    r"(?P<same>[A-Za-z0-9_ /:@,#=<>~!%&\"'-]|\\[._+*?()\[\]|$^/\\-]|\^|\.|\||\((?:\?:)?|\))"
    r"|(?P<end>\$)|(?P<quantifier>[*+?])"
    r"|(?P<set>\[\^?(?:[A-Za-z0-9_.](?:-[A-Za-z0-9_.])?)+-?\])"
)


@dataclass(frozen=True, slots=True)
class SealRule:
    """Rule: ``hit(key)`` returns whether a key decides; its leaves are then ``sealed``, all others not."""

    sealed: bool
    hit: Callable[[str], bool]


def parse_rule(seal: Mapping[str, Any]) -> SealRule:
    """Return the rule that a ``sops:`` block names. Raises ``SealMalformed`` and ``SealUnsure``."""
    given = {name: seal[name] for name in NAMES if seal.get(name, "") != ""}
    if not all(isinstance(value, str) for value in given.values()):
        raise SealUnsure("a rule of the seal is not a text", hint="the real sops must decide")
    if len(given) > 1:
        raise SealMalformed("the seal names more than one rule", hint=f"keep one of {', '.join(given)}")
    name, value = next(iter(given.items()), ("unencrypted_suffix", "_unencrypted"))
    if "comment" in name:
        raise SealUnsure(
            "the selection of sealed values depends on comments", hint="the real sops must decide"
        )
    if name.endswith("suffix"):
        return SealRule(name.startswith("enc"), lambda key: key.endswith(value))
    return SealRule(name.startswith("enc"), _compile_matcher(value))


def _compile_matcher(pattern: str) -> Callable[[str], bool]:
    ignore_case = pattern.startswith("(?i)")
    search = _translate_pattern(
        pattern.removeprefix("(?i)"), re.ASCII | (re.IGNORECASE if ignore_case else 0)
    ).search

    def hit(key: str) -> bool:
        if len(key) > _KEY_MAX or (ignore_case and not _FOLDS_TO_ASCII.isdisjoint(key)):
            raise SealUnsure("a key that RE2 may read differently", hint="the real sops must decide")
        return search(key) is not None

    return hit


@lru_cache(maxsize=64)  # the files of a repository share a handful of rules
def _translate_pattern(pattern: str, flags: int) -> re.Pattern[str]:
    """Return Python's spelling of an RE2 pattern: ``$`` is the very end. Raises ``SealUnsure``."""
    parts: list[str] = []
    place = quantifiers = 0
    before = ""
    while place < len(pattern):
        token = _TOKEN.match(pattern, place)
        if token is None or (token["quantifier"] and (before in "^$|()*+?" or before == "(?:")):
            raise _make_unsure_error()
        before = token[0]
        quantifiers += token["quantifier"] is not None
        parts.append(r"\Z" if token["end"] else before)
        place = token.end()
    if quantifiers > _QUANTIFIERS_MAX:
        raise _make_unsure_error()
    try:
        return re.compile("".join(parts), flags)
    except re.error:
        raise _make_unsure_error() from None


def _make_unsure_error() -> SealUnsure:
    return SealUnsure("a pattern of the seal that RE2 may read differently", hint="the real sops must decide")
