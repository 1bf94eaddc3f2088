"""HTTP tools on a real server that misbehaves: whatever it does is a typed result."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentsd.core.manifest.tools import HttpTool
from agentsd.core.trust.outbound import Outbound
from agentsd.providers.base import ProviderForbidden, ProviderRejected
from agentsd.providers.tool import ToolResult
from agentsd.providers.tools.http_tool import RESULT_BYTES_MAX, HttpToolSource
from agentsd.providers.transport.sessions import HttpSessions
from tests.vendors.base import Fault
from tests.vendors.tool_server import ToolServer

KEY = "canary-7d1f-secret-that-nobody-may-see"
Run = Callable[..., Any]


@pytest.fixture
async def server() -> AsyncIterator[ToolServer]:
    """A server of tools."""
    async with ToolServer() as running:
        yield running


def make(url: str, sessions: HttpSessions, **more: Any) -> HttpToolSource:
    """A tool at ``url``."""
    http = {"url": url, **more.pop("http", {})}
    return HttpToolSource(HttpTool.model_validate({"name": "t", "http": http, **more}), sessions)


@pytest.fixture
async def run(server: ToolServer) -> AsyncIterator[Run]:
    """``await run("/path", …)``: the result of a tool there."""
    sessions = HttpSessions()

    async def call(path: str, arguments: dict[str, Any] | None = None, **more: Any) -> ToolResult:
        tool = make(server.url + path, sessions, **more)
        try:
            return await tool.run(arguments or {}, {})
        finally:
            await tool.aclose()

    yield call
    assert sessions.holders() == {}
    await sessions.aclose()


def token(origin: str) -> dict[str, str]:
    """A key for ``origin``."""
    return {"value": KEY, "origin": origin}


async def test_a_request_is_made_and_its_answer_returned(server: ToolServer, run: Run) -> None:
    """With the key in its header, and JSON both ways."""
    server.answers["/a"] = {"state": "shipped"}
    result = await run("/a", {"n": 1}, auth_token=token(server.url), http={"method": "POST"})
    assert (result.outcome, result.text) == ("ok", '{"state": "shipped"}')
    assert server.last.body == {"n": 1}
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in server.last.headers
    await run("/a", auth_token=token(server.url), http={"auth_header": "X-Api-Key"})
    assert server.last.headers["x-api-key"] == KEY
    assert "authorization" not in server.last.headers


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/bad/stall", "timeout"),
        ("/bad/drip", "timeout"),
        ("/bad/flood/10", "too_large"),
        ("/bad/flood/1024", "too_large"),
        ("/bad/binary", "unreadable"),
        ("/bad/binary?type=text/plain", "unreadable"),
        ("/bad/binary?type=image/png", "unreadable"),
        ("/bad/redirect?to=http://169.254.169.254/latest/meta-data/", "redirected"),
        ("/bad/redirect?to=http://localhost/", "redirected"),
        ("/bad/redirect?to=//evil.example/", "redirected"),
        ("/bad/redirect?to=http://user@127.0.0.1/", "redirected"),
        ("/bad/redirect?to=/bad/redirect?to=/x%26n=1", "ok"),
        ("/bad/redirect?to=/fine", "ok"),
        ("/bad/status/404", "failed"),
        ("/bad/status/500", "failed"),
        ("/bad/status/503", "failed"),
        ("/bad/status/204", "ok"),
        ("/bad/status/304", "failed"),
        ("/bad/empty", "ok"),
        ("/bad/latin", "ok"),
    ],
)
async def test_whatever_a_service_does_is_a_typed_result(
    server: ToolServer, run: Run, path: str, outcome: str
) -> None:
    """No answer, a flood, something binary, a redirect elsewhere: nothing is raised, little is read."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await run(path, timeout_seconds=0.4)
    assert result.outcome == outcome
    assert len(result.text) < RESULT_BYTES_MAX
    assert server.sent_bytes < 32 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


async def test_redirects_of_the_origin_end(server: ToolServer, run: Run) -> None:
    """A GET follows a few; anything else none, since it would be sent twice."""
    assert (await run("/bad/loop")).outcome == "redirected"
    assert len(server.requests) == 4
    for method, status in (("POST", 303), ("POST", 307), ("DELETE", 302)):
        server.requests.clear()
        result = await run(f"/bad/redirect?to=/x&status={status}", http={"method": method})
        assert result.outcome == "redirected"
        assert len(server.requests) == 1


@pytest.mark.parametrize(("method", "requests"), [("GET", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
async def test_only_a_get_is_tried_again(server: ToolServer, run: Run, method: str, requests: int) -> None:
    """After a connection that broke and after a 503, once."""
    server.failures = 1
    result = await run("/a", http={"method": method})
    assert len(server.requests) == requests
    assert result.outcome == ("ok" if method == "GET" else "failed")
    server.requests.clear()
    server.fault = Fault.OVERLOADED
    assert (await run("/a", http={"method": method})).outcome == "failed"
    assert len(server.requests) == requests


async def test_a_key_that_the_service_repeats_is_masked(server: ToolServer, run: Run) -> None:
    """In what it answers, and in how it refuses."""
    server.answers["/a"] = {"you": f"Bearer {KEY}"}
    assert KEY not in (await run("/a", auth_token=token(server.url))).text
    server.fault = Fault.UNAUTHORIZED
    refused = await run("/b", auth_token=token(server.url))
    assert refused.outcome == "failed"
    assert KEY not in refused.text


async def test_the_outbound_rules_hold(server: ToolServer) -> None:
    """For a literal address when it is built, for a name at its socket."""
    with pytest.raises(ProviderForbidden):
        make("http://169.254.169.254/latest", HttpSessions())
    with pytest.raises(ProviderForbidden):
        make(server.url, HttpSessions(outbound=Outbound.parse(["example.com"])))
    sessions = HttpSessions(outbound=Outbound.parse(["10.0.0.0/8"]))
    tool = make(f"http://localhost:{server.port}/a", sessions)
    assert (await tool.run({}, {})).outcome == "refused"
    assert server.requests == []
    await tool.aclose()
    await sessions.aclose()


async def test_nobody_listens(run: Run) -> None:
    """A typed result as well."""
    sessions = HttpSessions()
    tool = make("http://127.0.0.1:9/", sessions)
    assert (await tool.run({}, {})).outcome == "unreachable"
    await tool.aclose()
    await sessions.aclose()


async def test_a_call_that_is_cancelled_ends(server: ToolServer) -> None:
    """Its request ends at once."""
    sessions = HttpSessions()
    tool = make(f"{server.url}/bad/stall", sessions)
    task = asyncio.ensure_future(tool.run({}, {}))
    await server.arrived.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.wait_for(server.last.disconnected.wait(), 5)
    await tool.aclose()
    await sessions.aclose()


def test_a_key_with_a_line_break_is_refused() -> None:
    """When the tool is built, and without a quotation."""
    broken = {"value": f"{KEY}\n", "origin": "http://a.b"}
    with pytest.raises(ProviderRejected) as caught:
        make("http://a.b/", HttpSessions(), auth_token=broken)
    assert KEY not in str(caught.value)
