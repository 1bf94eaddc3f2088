"""Sessions: one per origin, opened late, closed when nobody holds it."""

from __future__ import annotations

import pytest

from agentsd.providers.http import HttpSessions


async def test_holders_of_one_origin_share_a_session() -> None:
    """Paths and spelling do not matter; scheme, host and port do."""
    sessions = HttpSessions()
    one, two = (
        sessions.acquire("https://API.example.org/a"),
        sessions.acquire("https://api.example.org:443/b"),
    )
    other = sessions.acquire("https://api.example.org:8443")
    assert sessions.opened() == frozenset()
    assert one.session is two.session
    assert one.session is not other.session
    await sessions.aclose()
    for claim in (one, two, other):
        await claim.release()


async def test_the_last_release_closes() -> None:
    """A new provider that came before the old one went keeps the warm connections."""
    sessions = HttpSessions()
    old = sessions.acquire("http://h")
    session = old.session
    new = sessions.acquire("http://h")
    await old.release()
    await old.release()
    assert new.session is session
    assert not session.closed
    await new.release()
    assert session.closed
    assert sessions.holders() == {}
    with pytest.raises(RuntimeError):
        _ = new.session


async def test_an_origin_can_be_acquired_again_after_it_was_closed() -> None:
    """The next holder gets a fresh session."""
    sessions = HttpSessions()
    first = sessions.acquire("http://h")
    closed = first.session
    await first.release()
    second = sessions.acquire("http://h")
    assert second.session is not closed
    await sessions.aclose()
    assert second._pool.session is None
    await second.release()


def test_what_is_no_url_is_refused() -> None:
    """Nothing is counted for it."""
    sessions = HttpSessions()
    with pytest.raises(ValueError, match="URL"):
        sessions.acquire("http://h:99999")
    assert sessions.holders() == {}
