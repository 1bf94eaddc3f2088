"""Ids of calls that a client sees: unique, since what is kept for a call is found by its id. Pure.

Some vendors number the calls of each conversation anew (``functions.open_page:0``, ``call_0``), so that those
of two conversations of one token are the same.
"""

from __future__ import annotations

import re
from uuid import uuid4

DISTINCT_MIN = 5
"""Characters of which a random part has at least so many different ones."""

_WORDS = re.compile(r"functions?|chatcmpl|tool(?:u|use)?|call", re.IGNORECASE)
_RANDOM = re.compile(r"[A-Za-z0-9]{8,}")


def may_repeat(identifier: str, name: str) -> bool:
    """Return whether the id of a call of the tool ``name`` has no part that looks random."""
    rest = _WORDS.sub("-", identifier.replace(name, "-") if name else identifier)
    return not any(len(set(one)) >= DISTINCT_MIN for one in _RANDOM.findall(rest))


def make_call_id() -> str:
    """Return a new id."""
    return f"call_{uuid4().hex[:24]}"
