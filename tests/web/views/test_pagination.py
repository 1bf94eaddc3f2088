"""Queries, cursors and pages: pure."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from agentsd.core.manifest.agent import AgentRow
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.web.http.problem import Problem
from agentsd.web.views.pagination import (
    ListQuery,
    check_names,
    decode_cursor,
    decode_place,
    encode_cursor,
    encode_place,
    make_next_link,
    parse_limit,
    parse_page_query,
    parse_query,
    slice_page,
)
from agentsd.web.views.sort_order import CONDITION_SEVERITY, SLUG_ORDER, SORTS, PagePicker, SortOrder

slugs = st.text("abc/.-1", min_size=1, max_size=6)
orders = st.sampled_from(SORTS).map(SortOrder.parse)
_NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def entry_of(slug: str, name: str, number: int, condition: int) -> SnapshotEntry:
    """An agent whose keys are few, so that many are equal."""
    row = AgentRow(
        id=uuid4(), slug=slug, owner="o", source="main", path=f"{slug}.yaml", version=number, digest=b"",
        is_default=False, is_active=True, name=name, commit=None, created_at=_NOON,
        updated_at=_NOON + timedelta(microseconds=number),
    )  # fmt: skip
    return SnapshotEntry(row, AgentCondition(CONDITION_SEVERITY[condition], "R", "", _NOON))  # type: ignore[arg-type]


entries = st.builds(
    entry_of, slugs, st.text("aA\u00e4: \u2028", max_size=2), st.integers(0, 3), st.integers(0, 3)
)
fleets = st.lists(entries, max_size=30, unique_by=lambda one: one.row.slug)


def in_order(known: Sequence[SnapshotEntry], order: SortOrder) -> list[str]:
    """The whole list: by key, and equal ones by slug, whichever way the keys run."""
    by_slug = sorted(known, key=lambda one: one.row.slug)
    by_key = sorted(by_slug, key=lambda one: order.place(one)[0], reverse=order.descending)
    return [one.row.slug for one in by_key]


def page_by(
    known: Sequence[SnapshotEntry], order: SortOrder, cursor: str | None, limit: int
) -> tuple[list[str], str | None]:
    """A page as a client gets it: from cursor to cursor."""
    by_slug = sorted(known, key=lambda one: one.row.slug)
    picker = PagePicker(order, decode_cursor(cursor, order) if cursor else None, limit)
    for start in range(0, len(by_slug), 4):
        picker.add(by_slug[start : start + 4])
    page, after = picker.page()
    return page, encode_cursor(after, order) if after else None


@given(st.text(), orders, entries)
def test_a_cursor_comes_back(slug: str, order: SortOrder, entry: SnapshotEntry) -> None:
    """Encoding and decoding are inverse, in every order."""
    place = order.place(entry)
    assert decode_cursor(encode_cursor(place, order), order) == place
    if slug.isprintable():
        assert decode_cursor(encode_cursor((slug, slug))) == (slug, slug)


def test_a_cursor_of_an_earlier_release_holds() -> None:
    """Clients keep them: base64url of ``1:`` and the slug."""
    assert decode_cursor("MTphY21lL3NhbGVz") == ("acme/sales", "acme/sales")


@given(st.text(), orders)
def test_a_foreign_cursor_is_refused(text: str, order: SortOrder) -> None:
    """Whatever is not ours is a 400, never another error."""
    with suppress(Problem):
        assert encode_cursor(decode_cursor(text, order), order) == text


@pytest.mark.parametrize(
    "text",
    ["2", "2:version", "2:version:a\0" + "07", "2:version:a\0x", "2:version:a\0", "3:a", "2:x:a\0" + "1"],
)
def test_a_made_up_cursor_is_refused(text: str) -> None:
    """A number that is none, or not as we write it; a version of the format that does not exist."""
    with pytest.raises(Problem) as caught:
        decode_cursor(urlsafe_b64encode(text.encode()).decode().rstrip("="), SortOrder("version"))
    assert (caught.value.status, caught.value.param) == (400, "cursor")


@given(entries, orders, orders)
def test_a_cursor_of_another_order_is_refused(entry: SnapshotEntry, one: SortOrder, other: SortOrder) -> None:
    """It would be a place in another list."""
    if one != other:
        with pytest.raises(Problem) as caught:
            decode_cursor(encode_cursor(one.place(entry), one), other)
        assert (caught.value.status, caught.value.param) == (400, "cursor")
        assert "order" in caught.value.detail


@given(fleets, orders, st.integers(1, 7))
def test_pages_in_any_order_make_up_the_whole(
    known: list[SnapshotEntry], order: SortOrder, limit: int
) -> None:
    """Following the cursors visits every agent once, in order."""
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = page_by(known, order, cursor, limit)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    assert seen == in_order(known, order)


@given(fleets, orders, st.integers(1, 5), st.data())
def test_agents_may_come_and_go_between_pages(
    known: list[SnapshotEntry], order: SortOrder, limit: int, data: st.DataObject
) -> None:
    """Nothing is repeated, and nothing that was there all the time is skipped."""
    now, always = list(known), {one.row.slug for one in known}
    met = set(always)  # a slug that left and came again with another key may well be seen twice
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = page_by(now, order, cursor, limit)
        seen += page
        if cursor is None:
            break
        shrinks: bool = data.draw(st.booleans())
        if now and shrinks:
            gone = now.pop(data.draw(st.integers(0, len(now) - 1)))
            always.discard(gone.row.slug)
        new = data.draw(entries)
        if new.row.slug not in met:
            met.add(new.row.slug)
            now.append(new)
    assert len(seen) == len(set(seen))
    assert always <= set(seen)


@given(fleets, st.integers(1, 7))
def test_the_quick_way_finds_the_same_pages(known: list[SnapshotEntry], limit: int) -> None:
    """In the order of slugs a page is looked up rather than picked."""
    by_slug = in_order(known, SLUG_ORDER)
    after = None
    while True:
        page, following = slice_page(by_slug, ListQuery(limit=limit, after=after))
        cursor = encode_cursor(after) if after else None
        assert page_by(known, SLUG_ORDER, cursor, limit) == (
            page,
            encode_cursor(following) if following else None,
        )
        if following is None:
            break
        after = following


@given(st.sets(slugs, min_size=2, max_size=30), st.data())
def test_a_page_continues_though_its_last_slug_is_gone(all_slugs: set[str], data: st.DataObject) -> None:
    """A cursor is a place, not a row: deleting that row neither repeats nor skips the others."""
    known = sorted(all_slugs)
    gone = data.draw(st.sampled_from(known))
    page, _ = slice_page([slug for slug in known if slug != gone], ListQuery(limit=1000, after=(gone, gone)))
    assert list(page) == [slug for slug in known if slug > gone]


@pytest.mark.parametrize("text", ["0", "-1", "1001", "abc", "", "1.5", " 5", "١", "9" * 30])
def test_a_bad_limit_is_refused(text: str) -> None:
    """Only whole numbers from 1 to the maximum."""
    with pytest.raises(Problem) as caught:
        parse_limit(text)
    assert (caught.value.status, caught.value.param) == (400, "limit")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"onwer": "acme"}, "onwer"),
        ({"active": "maybe"}, "active"),
        ({"q": "x" * 201}, "q"),
        ({"cursor": "%%%"}, "cursor"),
        ({"sort": "color"}, "sort"),
        ({"sort": "--name"}, "sort"),
        ({"sort": ""}, "sort"),
        ({"condition": "ready"}, "condition"),
        ({"view": "brief"}, "view"),
        ({"sort": "name", "cursor": "MTph"}, "cursor"),
    ],
)
def test_a_bad_query_is_refused(query: dict[str, str], said: str) -> None:
    """Typos are told rather than ignored."""
    with pytest.raises(Problem) as caught:
        parse_query(query, tuple(query))
    assert (caught.value.status, caught.value.param) == (400, said)


def test_an_unknown_parameter_gets_a_suggestion() -> None:
    """``onwer`` means ``owner``."""
    with pytest.raises(Problem) as caught:
        parse_query({"onwer": "acme"}, ("onwer",))
    assert "owner" in caught.value.hint


def test_a_parameter_given_twice_is_refused() -> None:
    """Two answers to one question."""
    with pytest.raises(Problem):
        check_names(("q", "q"), ("q",))


def test_a_sort_that_is_none_gets_a_suggestion() -> None:
    """``-updated`` means ``-updated_at``."""
    with pytest.raises(Problem) as caught:
        parse_query({"sort": "-updated"}, ("sort",))
    assert "-updated_at" in caught.value.hint


def test_the_next_link_keeps_the_filters() -> None:
    """The link leads to the next page of the same list."""
    query = {"owner": "a b", "active": "1", "limit": "5", "cursor": "OLD"}
    assert make_next_link("/api/agents", query, "CUR") == (
        '</api/agents?owner=a+b&active=1&limit=5&cursor=CUR>; rel="next"'
    )
    assert make_next_link("/api/agents", query, None) is None


@given(st.text(), st.text())
def test_a_cursor_of_a_list_comes_back_to_it_alone(value: str, text: str) -> None:
    """Revisions, audit entries, owners and values have places of their own."""
    with suppress(UnicodeEncodeError):
        cursor = encode_place("owner", value)
        assert decode_place(cursor, "owner") == value
        for other in ("entry", "own", ""):
            with pytest.raises(Problem) as caught:
                decode_place(cursor, other)
            assert (caught.value.status, caught.value.param) == (400, "cursor")
    with suppress(Problem):
        assert encode_place("owner", decode_place(text, "owner")) == text


@pytest.mark.parametrize("value", ["-1", "x", "", "1.5", "9" * 19, "\u0661"])
def test_a_place_that_is_not_a_number_is_refused(value: str) -> None:
    """Made up: we never wrote it."""
    query = MultiDict(cursor=encode_place("entry", value))
    with pytest.raises(Problem):
        _ = parse_page_query(query, "entry").number
