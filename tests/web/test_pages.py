"""Queries, cursors and pages: pure."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.web.pages import Query, decode_cursor, encode_cursor, page_of, parse_limit, parse_query
from agentsd.web.problem import Problem

slugs = st.text("abc/.-1", min_size=1, max_size=6)


@given(st.text())
def test_a_cursor_comes_back(slug: str) -> None:
    """Encoding and decoding are inverse."""
    if slug.isprintable():
        assert decode_cursor(encode_cursor(slug)) == slug


@given(st.text())
def test_a_foreign_cursor_is_refused(text: str) -> None:
    """Whatever is not ours is a 400, never another error."""
    with suppress(Problem):
        assert encode_cursor(decode_cursor(text)) == text


@given(st.sets(slugs, max_size=30), st.integers(1, 7))
def test_pages_make_up_the_whole(all_slugs: set[str], limit: int) -> None:
    """Following the cursors visits every slug once, in order."""
    known = sorted(all_slugs)
    seen: list[str] = []
    after = ""
    while True:
        page, cursor = page_of(known, Query(limit=limit, after=after))
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
        after = decode_cursor(cursor)
    assert seen == known


@given(st.sets(slugs, min_size=2, max_size=30), st.data())
def test_a_page_continues_though_its_last_slug_is_gone(all_slugs: set[str], data: st.DataObject) -> None:
    """A cursor is a place, not a row: deleting that row neither repeats nor skips the others."""
    known = sorted(all_slugs)
    gone = data.draw(st.sampled_from(known))
    page, _ = page_of([slug for slug in known if slug != gone], Query(limit=1000, after=gone))
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
        parse_query({"q": "a"}, ("q", "q"))


def test_the_next_link_keeps_the_filters() -> None:
    """The link leads to the next page of the same list."""
    query = parse_query({"owner": "a b", "active": "1", "limit": "5"}, ("owner", "active", "limit"))
    assert query.next_link("/api/agents", "CUR") == (
        '</api/agents?owner=a+b&active=true&limit=5&cursor=CUR>; rel="next"'
    )
