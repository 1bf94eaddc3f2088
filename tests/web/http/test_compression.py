"""Compressed replies: for who accepts them, and the same content and tag for all."""

from __future__ import annotations

import gzip

import pytest

from agentsd.web.http.compression import accepts_gzip
from tests.web.conftest import Stack, echo

GZIP = {"Accept-Encoding": "gzip, br"}


async def test_a_long_reply_is_compressed_and_a_short_one_is_not(stack: Stack) -> None:
    """A list of agents takes a fraction; the content and the ETag are those of the plain reply."""
    for number in range(30):
        stack.write(f"a{number}.yaml", echo(f"Agent {number}"))
    await stack.sync()
    url = f"{stack.url}/api/agents"
    async with stack.client.get(url, headers={"Accept-Encoding": "identity"}) as reply:
        plain, etag = await reply.read(), reply.headers["ETag"]
        assert "Content-Encoding" not in reply.headers
        assert "Accept-Encoding" in reply.headers["Vary"]
    async with stack.client.get(url, headers=GZIP) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        assert int(reply.headers["Content-Length"]) < len(plain) / 4
        assert (await reply.read(), reply.headers["ETag"]) == (plain, etag)
    async with stack.client.get(url, headers={**GZIP, "If-None-Match": etag}) as reply:
        assert reply.status == 304
    async with stack.client.get(f"{stack.url}/api/session", headers=GZIP) as reply:
        assert "Content-Encoding" not in reply.headers


async def test_large_replies_are_compressed_outside_the_loop(stack: Stack) -> None:
    """They come whole."""
    url = f"{stack.url}/openapi.json"
    async with stack.client.get(url, headers={"Accept-Encoding": "identity"}) as reply:
        plain = await reply.read()
    assert len(plain) > 64 << 10
    async with stack.client.get(url, headers=GZIP, auto_decompress=False) as reply:
        assert gzip.decompress(await reply.read()) == plain


ACCEPTED = {
    "gzip": True,
    "br, gzip;q=0.5": True,
    "*": True,
    "GZIP ; q=1": True,
    "gzip;q=0": False,
    "gzip;q=0.000": False,
    "identity": False,
    "x-gzip": False,
    "*, gzip;q=0": False,
    "*;q=0, gzip": True,
    "": False,
}


@pytest.mark.parametrize("accepted", ACCEPTED)
def test_what_a_client_accepts(accepted: str) -> None:
    """Weights count, names are whole."""
    assert accepts_gzip(accepted) is ACCEPTED[accepted]
