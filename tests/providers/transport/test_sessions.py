"""Sessions: one per origin, opened late, closed when nobody holds it."""

from __future__ import annotations

import asyncio

import pytest

from agentsd.providers.transport.sessions import HttpSessions


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


async def test_owners_share_no_session() -> None:
    """So 512 streams of one leave another's requests to the same vendor alone; one owner's are shared."""
    sessions = HttpSessions()
    acme, beta = sessions.of("acme").acquire("http://h"), sessions.of("beta").acquire("http://h")
    again = sessions.of("acme").acquire("http://h")
    assert acme.session is again.session
    assert acme.session is not beta.session
    assert sessions.holders() == {"http://h": 3}
    await acme.release()
    await again.release()
    assert sessions.holders() == {"http://h": 1}
    assert not beta.session.closed
    await sessions.aclose()
    assert sessions.opened() == frozenset()
    await beta.release()


async def test_streams_of_one_owner_do_not_hold_up_another() -> None:
    """Every connection that one owner may have is taken; the other one's first request goes through."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sessions = HttpSessions(connections=2)
    acme, beta = sessions.of("acme").acquire(url), sessions.of("beta").acquire(url)
    held = [await acme.session.get(url) for _ in range(2)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await acme.session.get(url)
    async with asyncio.timeout(10):
        held.append(await beta.session.get(url))
    for reply in held:
        reply.close()
    await sessions.aclose()
    server.close()
