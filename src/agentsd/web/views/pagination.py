"""Query of a list: filters, page size and cursor; pure.

A cursor is opaque to clients: base64url of the last place of the page before, which is a slug, or,
in an order other than by slug, a key and a slug. Paging by place rather than by number neither
repeats nor skips an agent when others come and go in between.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import urlencode

from agentsd.core.violations import suggest_word
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.views.sort_order import CONDITION_SEVERITY, SLUG_ORDER, SORTS, Key, ListPlace, SortOrder

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100
TEXT_MAX = 200
FILTERS = ("owner", "q", "active", "provider", "condition")
VIEWS: tuple[Literal["full", "summary"], ...] = ("full", "summary")
_KNOWN_NAMES = (*FILTERS, "sort", "view", "limit", "cursor")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BY_SLUG, _BY_KEY = "1:", "2:"  # versions of the cursor format
_DIGITS = re.compile(r"[0-9]{1,6}")
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters, order and page of a list, as requested by a client."""

    owner: str | None = None
    q: str | None = None  # lower case; part of a slug or name
    active: bool | None = None
    provider: str | None = None  # "groq.com", of any kind
    condition: str | None = None  # its type
    order: SortOrder = SLUG_ORDER
    view: Literal["full", "summary"] = "full"
    limit: int = LIMIT_DEFAULT
    after: ListPlace | None = None  # the last place of the previous page

    def next_link(self, path: str, cursor: str) -> str:
        """Return the value of ``Link`` for the next page."""
        wanted = {
            "owner": self.owner,
            "q": self.q,
            "active": None if self.active is None else str(self.active).lower(),
            "provider": self.provider,
            "condition": self.condition,
            "sort": None if self.order == SLUG_ORDER else str(self.order),
            "view": None if self.view == "full" else self.view,
        }
        kept = {key: value for key, value in wanted.items() if value is not None}
        return f'<{path}?{urlencode({**kept, "limit": self.limit, "cursor": cursor})}>; rel="next"'


def parse_query(query: Mapping[str, str], names: Sequence[str]) -> ListQuery:
    """Parse a query. ``names`` are all its names, with repetitions. Raise ``Problem`` 400."""
    check_names(names, _KNOWN_NAMES)
    order = SortOrder.parse(_get_choice(query, "sort", SORTS) or str(SLUG_ORDER))
    return ListQuery(
        owner=_get_text(query, "owner"),
        q=(_get_text(query, "q") or "").lower() or None,
        active=parse_boolean(query, "active"),
        provider=_get_text(query, "provider"),
        condition=_get_choice(query, "condition", CONDITION_SEVERITY),
        order=order,
        view=_get_choice(query, "view", VIEWS) or "full",
        limit=parse_limit(query.get("limit")),
        after=decode_cursor(query["cursor"], order) if "cursor" in query else None,
    )


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Check that all ``names`` of a query are ``known`` and none is repeated. Raise ``Problem`` 400."""
    for name in names:
        if name not in known:
            raise bad_request(
                f"unknown query parameter {sanitize_text(name)}",
                hint=suggest_word(name[:TEXT_MAX], known) or f"known: {', '.join(known)}",
                param=sanitize_text(name),
            )
    if len(set(names)) != len(names):
        raise bad_request("a query parameter is given twice", hint="give each parameter once")


def parse_limit(text: str | None, *, default: int = LIMIT_DEFAULT, maximum: int = LIMIT_MAX) -> int:
    """Parse a page size of 1 to ``maximum``. Raise ``Problem`` 400."""
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= maximum:
        raise bad_request(f"limit must be a whole number from 1 to {maximum}", param="limit")
    return int(text)


def encode_cursor(after: ListPlace, order: SortOrder = SLUG_ORDER) -> str:
    """Return the cursor of the page that follows ``after``."""
    key, slug = after
    text = (
        f"{_BY_SLUG}{slug}" if order == SLUG_ORDER else f"{_BY_KEY}{order}:{slug}\0{key}"
    )  # no slug has a NUL
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: SortOrder = SLUG_ORDER) -> ListPlace:
    """Return the place that a cursor contains.

    Raise ``Problem`` 400 for anything that we did not write, or wrote for another order.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        place = _parse_place(raw.decode("utf-8"), order)
    except (binascii.Error, ValueError):
        raise _make_bad_cursor() from None
    if encode_cursor(place, order) != cursor:
        raise _make_bad_cursor()
    return place


def _parse_place(text: str, order: SortOrder) -> ListPlace:
    """Parse a place. Raise ``ValueError``, and ``Problem`` for a place in another order."""
    version, rest = text[: len(_BY_SLUG)], text[len(_BY_SLUG) :]
    if version not in (_BY_SLUG, _BY_KEY):
        raise ValueError
    said, _, rest = (str(SLUG_ORDER), "", rest) if version == _BY_SLUG else rest.partition(":")
    if said != str(order):
        raise bad_request(
            "the cursor belongs to a list in another order",
            hint="keep the value of sort, or start again without a cursor",
            param="cursor",
        )
    if version == _BY_SLUG:
        return rest, rest
    slug, _, key = rest.partition("\0")
    return _parse_key(key, order), slug


def _parse_key(text: str, order: SortOrder) -> Key:
    if order.kind is str:
        return text
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return int(text)


def slice_page(slugs: Sequence[str], query: ListQuery) -> tuple[Sequence[str], ListPlace | None]:
    """Return the page of sorted ``slugs`` after ``query.after``, and its end if there is a next one."""
    start = bisect_right(slugs, query.after[1]) if query.after else 0
    page = slugs[start : start + query.limit]
    more = start + query.limit < len(slugs)
    return page, (page[-1], page[-1]) if more and page else None


def sanitize_text(text: str) -> str:
    """Shorten a client's text and make it printable, so that it can be quoted back."""
    return "".join(char if char.isprintable() else "?" for char in text[:TEXT_MAX])


def _get_text(query: Mapping[str, str], name: str) -> str | None:
    value = query.get(name)
    if value is not None and len(value) > TEXT_MAX:
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters", param=name)
    return value


def _get_choice(query: Mapping[str, str], name: str, words: Sequence[Word]) -> Word | None:
    value = query.get(name)
    found = next((word for word in words if word == value), None)
    if value is not None and found is None:
        hint = suggest_word(value[:TEXT_MAX], words)
        raise bad_request(f"{name} must be one of {', '.join(words)}", hint=hint, param=name)
    return found


def parse_boolean(query: Mapping[str, str], name: str) -> bool | None:
    value = query.get(name)
    if value is None:
        return None
    if value.lower() not in _BOOLEANS:
        raise bad_request(f"{name} must be true or false", param=name)
    return _BOOLEANS[value.lower()]


def _make_bad_cursor() -> Problem:
    return bad_request(
        "the cursor is not one of this server's", hint="start again without a cursor", param="cursor"
    )
