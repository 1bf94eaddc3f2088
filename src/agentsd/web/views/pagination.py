"""Paging of every list of the API, and the query of the list of agents; pure.

A request has ``limit`` and ``cursor``, a reply ``items`` and ``next_cursor`` (null on the last page),
with the same in its ``Link`` header. A cursor is opaque to clients: base64url of the last place of the
page before. Of agents it is a slug, or, in an order other than by slug, a key and a slug; elsewhere
the list's name and a number or name. Paging by place rather than by number neither repeats nor skips
an item when others come and go in between.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlencode

from multidict import MultiMapping
from pydantic import Field

from agentsd.core.ledger.status import STATUS_WORDS
from agentsd.core.violations import suggest_word
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.views.sort_order import CONDITION_SEVERITY, SLUG_ORDER, SORTS, Key, ListPlace, SortOrder

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100
TEXT_MAX = 200
FILTERS = ("owner", "q", "active", "provider", "condition", "status")
VIEWS: tuple[Literal["full", "summary"], ...] = ("full", "summary")
_PAGE_NAMES = ("limit", "cursor")
_KNOWN_NAMES = (*FILTERS, "refused", "sort", "view", *_PAGE_NAMES)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BY_SLUG, _BY_KEY, _BY_NAME = "1:", "2:", "3:"  # versions of the cursor format
_DIGITS = re.compile(r"[0-9]{1,6}")
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
Word = TypeVar("Word", bound=str)
NextCursor = Annotated[str | None, Field(description="The `cursor` of the next page; null on the last one.")]


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Page of a list other than that of agents. ``after``: the last place of the page before."""

    limit: int
    after: str | None = None

    @property
    def number(self) -> int | None:
        """Return ``after`` of a list whose places are numbers. Raise ``Problem`` 400."""
        if self.after is None:
            return None
        if not _COUNT.fullmatch(self.after):
            raise _make_bad_cursor()
        return int(self.after)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters, order and page of a list, as requested by a client."""

    owner: str | None = None
    q: str | None = None  # lower case; part of a slug or name
    active: bool | None = None
    provider: str | None = None  # "groq.com", of any kind
    condition: str | None = None  # its type
    status: str | None = None  # its word
    refused: bool = False  # with refused files that never became an agent
    order: SortOrder = SLUG_ORDER
    view: Literal["full", "summary"] = "full"
    limit: int = LIMIT_DEFAULT
    after: ListPlace | None = None  # the last place of the previous page


def make_next_link(path: str, query: Mapping[str, str], cursor: str | None) -> str | None:
    """Return the value of ``Link`` for the next page of the same list; None on the last page."""
    if cursor is None:
        return None
    return f'<{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'


def parse_page_query(
    query: MultiMapping[str],
    place: str,
    *others: str,
    default: int = LIMIT_DEFAULT,
    maximum: int = LIMIT_MAX,
) -> PageQuery:
    """Parse the page of the list whose cursors are for ``place``. ``others``: its further parameters.

    Raise ``Problem`` 400.
    """
    check_names([name for name, _ in query.items()], (*others, *_PAGE_NAMES))
    limit = parse_limit(query.get("limit"), default=default, maximum=maximum)
    return PageQuery(limit, decode_place(query["cursor"], place) if "cursor" in query else None)


def encode_place(place: str, value: object) -> str:
    """Return the cursor of the page after ``value``, in the list whose cursors are for ``place``."""
    return _encode_text(f"{_BY_NAME}{place}:{value}")


def decode_place(cursor: str, place: str) -> str:
    """Return the value that a cursor for ``place`` contains. Raise ``Problem`` 400."""
    text = _decode_text(cursor)
    if not text.startswith(f"{_BY_NAME}{place}:"):
        raise _make_bad_cursor()
    return text.removeprefix(f"{_BY_NAME}{place}:")


def parse_query(query: Mapping[str, str], names: Sequence[str]) -> ListQuery:
    """Parse a query of agents. ``names`` are all its names, with repetitions. Raise ``Problem`` 400."""
    check_names(names, _KNOWN_NAMES)
    order = SortOrder.parse(parse_choice(query, "sort", SORTS) or str(SLUG_ORDER))
    return ListQuery(
        owner=_get_text(query, "owner"),
        q=(_get_text(query, "q") or "").lower() or None,
        active=parse_boolean(query, "active"),
        provider=_get_text(query, "provider"),
        condition=parse_choice(query, "condition", CONDITION_SEVERITY),
        status=parse_choice(query, "status", STATUS_WORDS),
        refused=_parse_refused(query),
        order=order,
        view=parse_choice(query, "view", VIEWS) or "full",
        limit=parse_limit(query.get("limit")),
        after=decode_cursor(query["cursor"], order) if "cursor" in query else None,
    )


def _parse_refused(query: Mapping[str, str]) -> bool:
    refused = parse_boolean(query, "refused") or False
    if refused and query.get("view") != "summary":
        raise bad_request("refused files have no full view", hint="ask for view=summary", param="refused")
    return refused


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
    """Return the cursor of the page of agents that follows ``after``."""
    key, slug = after  # no slug has a NUL
    return _encode_text(f"{_BY_SLUG}{slug}" if order == SLUG_ORDER else f"{_BY_KEY}{order}:{slug}\0{key}")


def decode_cursor(cursor: str, order: SortOrder = SLUG_ORDER) -> ListPlace:
    """Return the place that a cursor contains.

    Raise ``Problem`` 400 for anything that we did not write, or wrote for another order.
    """
    try:
        place = _parse_place(_decode_text(cursor), order)
    except ValueError:
        raise _make_bad_cursor() from None
    if encode_cursor(place, order) != cursor:
        raise _make_bad_cursor()
    return place


def _encode_text(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_text(cursor: str) -> str:
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        text = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        raise _make_bad_cursor() from None
    if _encode_text(text) != cursor:
        raise _make_bad_cursor()
    return text


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


def parse_choice(query: Mapping[str, str], name: str, words: Sequence[Word]) -> Word | None:
    """Parse one of a few words; None: absent. Raise ``Problem`` 400."""
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
