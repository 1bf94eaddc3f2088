"""The token book: who holds a token, until when, and what a store that was written by hand cannot do."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.access import LOCAL, NOBODY, OPERATOR, Principal, parse_expiry
from agentsd.runtime.follower.token_index import TokenIndex
from agentsd.store.queries.users import OwnerTokens

TOKEN, OTHER = "agentsd_the-first-of-them", "agentsd_the-second-one"


def entry(token: str = TOKEN, **fields: object) -> dict[str, object]:
    """One token as the store has it."""
    return {"name": "ci", "sha256": sha256(token.encode()).hexdigest(), "role": "viewer", **fields}


def owner(name: str, *tokens: dict[str, object], email: str | None = None) -> OwnerTokens:
    """An owner's tokens."""
    path = "_user.yaml" if name == "default" else f"{name}/_user.yaml"
    return OwnerTokens(name, path, tokens, email)


def test_a_token_has_a_holder() -> None:
    """Found by the token, not by its hash; gone with the next edition."""
    book = TokenIndex()
    assert not book
    assert not book.known
    book.replace([owner("acme", entry(role="editor"), email="ops@acme.example")])
    holder = book.find(TOKEN)
    assert holder is not None
    assert (holder.actor, holder.role, holder.email) == ("acme/ci", "editor", "ops@acme.example")
    assert book
    assert book.known
    assert book.valid(holder)
    assert book.find(OTHER) is book.find(sha256(TOKEN.encode()).hexdigest()) is book.find("\udcff") is None
    book.replace([])
    assert book.find(TOKEN) is None
    assert not book.valid(holder)
    assert not book


def test_what_changes_ends_what_was_shown() -> None:
    """Another role, expiry or token of the same name is another principal; another email is not."""
    book = TokenIndex()
    book.replace([owner("acme", entry())])
    holder = book.find(TOKEN)
    assert holder is not None
    for other in (entry(role="editor"), entry(expires="2999-01-01"), entry(OTHER)):
        book.replace([owner("acme", other)])
        assert not book.valid(holder)
    book.replace([owner("acme", entry(), entry(OTHER), email="new@acme.example")])
    assert book.valid(holder)


def test_a_files_tokens_stay() -> None:
    """They are the operator's, an admin's, whatever users list; also before any is known."""
    book = TokenIndex([sha256(TOKEN.encode()).digest()])
    assert book.find(TOKEN) is OPERATOR
    assert book
    assert not book.known
    book.replace([owner("acme", entry(role="viewer"))])
    assert book.find(TOKEN) is OPERATOR
    assert book.valid(OPERATOR)
    assert not TokenIndex().valid(OPERATOR)


def test_an_open_server_closes() -> None:
    """Its only user is valid until somebody lists a token, usable or not."""
    book = TokenIndex()
    assert book.valid(LOCAL)
    book.replace([owner("acme", entry(expires="2001-01-01"))])
    assert not book.valid(LOCAL)
    assert book
    assert not book.valid(NOBODY)


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "admin"},
        {"role": "owner"},
        {"role": None},
        {"sha256": "no hex"},
        {"sha256": None},
        {"expires": "2999-02-30"},
        {"expires": "tomorrow"},
        {"expires": 99999999999},
        {"expires": "２９９９-01-01"},
    ],
)
def test_rows_that_no_sync_wrote_open_nothing(wrong: dict[str, object]) -> None:
    """An owner that makes itself admin, an unknown role, no date: no entry, and no open server."""
    book = TokenIndex()
    book.replace([owner("acme", entry(**wrong))])
    assert book.find(TOKEN) is None
    assert book


def test_a_hash_of_several_owners_is_nobodys() -> None:
    """But the top-level file's is its own: listing an admin's hash neither takes it over nor locks it out."""
    book = TokenIndex()
    book.replace([owner("acme", entry()), owner("globex", entry(role="editor"))])
    assert book.find(TOKEN) is None
    book.replace([owner("acme", entry()), owner("default", entry(role="admin")), owner("zeta", entry())])
    holder = book.find(TOKEN)
    assert holder is not None
    assert (holder.owner, holder.role) == ("default", "admin")


def at(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expires", "last", "first"),
    [
        ("2027-01-31", "2027-01-31T23:59:59.9", "2027-02-01T00:00:00"),
        ("2027-12-31", "2027-12-31T23:59:59.9", "2028-01-01T00:00:00"),
        ("2027-01-31T12:00:00Z", "2027-01-31T11:59:59.9", "2027-01-31T12:00:00"),
    ],
)
def test_a_token_ends(expires: str, last: str, first: str) -> None:
    """A day is the last valid one in UTC; a moment is the first that is not valid."""
    now = [at(last)]
    book = TokenIndex(clock=lambda: now[0])
    book.replace([owner("acme", entry(expires=expires))])
    holder = book.find(TOKEN)
    assert holder is not None
    assert book.valid(holder)
    now[0] = at(first)
    assert book.find(TOKEN) is None
    assert not book.valid(holder)


@given(st.text(max_size=24) | st.from_regex(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?", fullmatch=True))
def test_every_text_ends_some_time(text: str) -> None:
    """Nothing that an ``expires`` may say makes a token eternal."""
    end = parse_expiry(text)
    assert end is not None
    assert end < at("9999-12-31") + 90_000
    assert parse_expiry(None) is None


async def test_waiting_for_the_end() -> None:
    """Revoked, or expired: whoever waits is told; another's revocation wakes nobody for good."""
    now = [at("2027-01-31T00:00:00")]
    book = TokenIndex(clock=lambda: now[0])
    both = (entry(), entry(OTHER, name="short", expires="2027-01-31T00:00:00Z"))
    book.replace([owner("acme", *both)])
    holder = book.find(TOKEN)
    assert holder is not None
    short = Principal("acme", "short", "viewer", at("2027-01-31"), None, sha256(OTHER.encode()).digest())
    async with asyncio.timeout(10):
        await book.ended(short)
        waiting = asyncio.create_task(book.ended(holder))
        book.replace([owner("acme", entry()), owner("globex", entry(OTHER))])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        book.replace([owner("globex", entry(OTHER))])
        await waiting


def test_no_token_is_ever_written(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a token nor its hash in a repr or a log, also of entries that are passed over."""
    caplog.set_level(logging.DEBUG)
    book = TokenIndex([sha256(OTHER.encode()).digest()])
    book.replace([owner("acme", entry(role="admin")), owner("a", entry()), owner("b", entry())])
    book.replace([owner("a", entry())])
    told = f"{book!r} {book.find(TOKEN)!r} {book.find(OTHER)!r} {caplog.text}"
    for token in (TOKEN, OTHER):
        assert token not in told
        assert sha256(token.encode()).hexdigest() not in told
        assert repr(sha256(token.encode()).digest()) not in told


def test_roles() -> None:
    """What each role sees and writes."""
    viewer, editor, admin = (Principal("acme", "x", role) for role in ("viewer", "editor", "admin"))
    assert [p.sees("acme") for p in (viewer, editor, admin)] == [True, True, True]
    assert [p.sees("globex") for p in (viewer, editor, admin)] == [False, False, True]
    assert [p.may_write("acme") for p in (viewer, editor, admin)] == [False, True, True]
    assert [p.may_write("globex") for p in (viewer, editor, admin)] == [False, False, True]
    assert [p.scope for p in (viewer, editor, admin)] == ["acme", "acme", None]
    assert not NOBODY.sees("default")
