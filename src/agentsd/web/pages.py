"""The query of a list: filters, page size and cursor; pure.

A cursor is opaque to clients: base64url of the last slug of the page before. Paging by key
rather than by number neither repeats nor skips an agent when others come and go in between.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from agentsd.core.violations import did_you_mean
from agentsd.web.problem import Problem, bad_request

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100
TEXT_MAX = 200
FILTERS = ("owner", "q", "active", "provider")
_KNOWN = (*FILTERS, "limit", "cursor")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_CURSOR_PREFIX = "1:"  # the cursor format's version
_DIGITS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Query:
    """What a client wants to see of the list."""

    owner: str | None = None
    q: str | None = None  # lower case; part of a slug or name
    active: bool | None = None
    provider: str | None = None  # "groq.com", of any kind
    limit: int = LIMIT_DEFAULT
    after: str = ""  # the last slug of the page before

    def next_link(self, path: str, cursor: str) -> str:
        """The value of ``Link`` for the next page."""
        active = None if self.active is None else str(self.active).lower()
        wanted = {"owner": self.owner, "q": self.q, "active": active, "provider": self.provider}
        kept = {key: value for key, value in wanted.items() if value is not None}
        return f'<{path}?{urlencode({**kept, "limit": self.limit, "cursor": cursor})}>; rel="next"'


def parse_query(query: Mapping[str, str], names: Sequence[str]) -> Query:
    """``names`` are all names of the query, with repetitions. Raises ``Problem`` 400."""
    for name in names:
        if name not in _KNOWN:
            raise bad_request(
                f"unknown query parameter {shown(name)}",
                hint=did_you_mean(name[:TEXT_MAX], _KNOWN) or f"known: {', '.join(_KNOWN)}",
                param=shown(name),
            )
    if len(set(names)) != len(names):
        raise bad_request("a query parameter is given twice", hint="give each once")
    return Query(
        owner=_text(query, "owner"),
        q=(_text(query, "q") or "").lower() or None,
        active=boolean(query, "active"),
        provider=_text(query, "provider"),
        limit=parse_limit(query.get("limit")),
        after=decode_cursor(query["cursor"]) if "cursor" in query else "",
    )


def parse_limit(text: str | None, *, default: int = LIMIT_DEFAULT, maximum: int = LIMIT_MAX) -> int:
    """A page size of 1 to ``maximum``. Raises ``Problem`` 400."""
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= maximum:
        raise bad_request(f"limit must be a whole number from 1 to {maximum}", param="limit")
    return int(text)


def encode_cursor(slug: str) -> str:
    """The cursor of the page after ``slug``."""
    return base64.urlsafe_b64encode((_CURSOR_PREFIX + slug).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The slug that a cursor stands for. Raises ``Problem`` 400 for anything that we did not write."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        text = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not text.startswith(_CURSOR_PREFIX) or encode_cursor(text[len(_CURSOR_PREFIX) :]) != cursor:
        raise _bad_cursor()
    return text[len(_CURSOR_PREFIX) :]


def page_of(slugs: Sequence[str], query: Query) -> tuple[Sequence[str], str | None]:
    """The page of sorted ``slugs`` that follows ``query.after``, and the cursor of the next one, if any."""
    start = bisect_right(slugs, query.after) if query.after else 0
    page = slugs[start : start + query.limit]
    more = start + query.limit < len(slugs)
    return page, encode_cursor(page[-1]) if more and page else None


def shown(text: str) -> str:
    """A client's own text, short and printable enough to be told back."""
    return "".join(char if char.isprintable() else "?" for char in text[:TEXT_MAX])


def _text(query: Mapping[str, str], name: str) -> str | None:
    value = query.get(name)
    if value is not None and len(value) > TEXT_MAX:
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters", param=name)
    return value


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    value = query.get(name)
    if value is None:
        return None
    if value.lower() not in _BOOLEANS:
        raise bad_request(f"{name} must be true or false", param=name)
    return _BOOLEANS[value.lower()]


def _bad_cursor() -> Problem:
    return bad_request(
        "the cursor is not one of this server's", hint="start again without a cursor", param="cursor"
    )
