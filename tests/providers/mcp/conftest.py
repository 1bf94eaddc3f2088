"""Sessions with our own HTTP, and a guard: the SDK's default client is never built."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from mcp.client import streamable_http
from mcp.shared import _httpx_utils

from agentsd.providers.transport.sessions import HttpSessions


@pytest.fixture(autouse=True)
def _own_http_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the SDK's, or a transport that opens sockets of its own, fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the SDK's own HTTP client was built")

    monkeypatch.setattr(_httpx_utils, "create_mcp_http_client", refuse)
    monkeypatch.setattr(streamable_http, "create_mcp_http_client", refuse)
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "__init__", refuse)


@pytest.fixture
async def sessions() -> AsyncIterator[HttpSessions]:
    """Sessions that may connect to this machine; nothing is left open."""
    made = HttpSessions()
    yield made
    assert not made.opened()
    assert not made.holders()
    await made.aclose()
