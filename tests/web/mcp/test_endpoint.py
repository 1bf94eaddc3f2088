"""POST /mcp: who is let in, and what is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from typing import Any

import pytest

from agentsd.web.mcp import endpoint
from agentsd.web.middleware.auth import AccessPolicy
from tests.web.conftest import Make, Stack
from tests.web.people import ALICE, ANN

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "a",
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def post(stack: Stack, body: Any = LIST, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a reply to one message."""
    given = {**ACCEPT, "Content-Type": "application/json", **headers}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with stack.client.post(f"{stack.url}/mcp", data=BytesIO(data), headers=given) as reply:
        assert reply.content_type == "application/json"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "Mcp-Session-Id" not in reply.headers
        raw = await reply.read()
        return reply.status, json.loads(raw) if raw else None


async def test_each_message_stands_alone(town: Stack) -> None:
    """Without a handshake, and after one; the answer is one JSON object, and there is no stream to GET."""
    for body in (INITIALIZE, LIST):
        status, told = await post(town, body, **ALICE.headers)
        assert (status, told["id"]) == (200, body["id"])
        assert "result" in told
    told = (await post(town, INITIALIZE, **ALICE.headers))[1]["result"]
    assert (told["protocolVersion"], told["serverInfo"]["name"]) == ("2025-11-25", "agentsd")
    assert list(told["capabilities"]) == ["tools"]
    for method in ("GET", "DELETE"):
        status, _ = await town.ask(method, "/mcp", headers=ALICE.headers)
        assert status == 405


async def test_hosts_and_origins_are_checked(stack: Stack) -> None:
    """A page elsewhere, and one whose name was rebound to this machine, get 403; and nobody a session."""
    assert (await post(stack))[0] == 200
    assert (await post(stack, Origin=stack.url))[0] == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        status, told = await post(stack, **headers)
        assert (status, told["error"]["code"], told["id"]) == (403, -32600, None), headers
        assert told["error"]["data"]["code"] in ("origin_not_allowed", "host_not_allowed")


async def test_listed_names_only(make: Make) -> None:
    """With AGENTSD_ALLOWED_HOSTS a token does not help a foreign Host."""
    stack = await make(access=AccessPolicy(hosts=frozenset({"agents.example"})))
    assert (await post(stack, Host="agents.example"))[0] == 200
    assert (await post(stack, Host="other.example"))[0] == 403


async def test_without_a_token_nothing_is_told(town: Stack) -> None:
    """401 with the scheme, as an error that clients of MCP show."""
    status, told = await post(town)
    assert status == 401
    assert "bearer token" in told["error"]["message"]
    assert "result" not in told
    assert (await post(town, **ANN.headers))[0] == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", 400),
        (b"[]", 400),
        ([LIST], 400),
        ({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}, 400),
        ({"jsonrpc": "2.0", "id": 1}, 400),
        ({"jsonrpc": "2.0", "id": 1, "method": "x" * 101}, 400),
        ({"jsonrpc": "2.0", "id": [1], "method": "tools/list"}, 400),
        ({"jsonrpc": "2.0", "id": True, "method": "tools/list"}, 400),
        ({"jsonrpc": "2.0", "id": "x" * 201, "method": "tools/list"}, 400),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}, 400),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b'{"a":' * 200 + b"1" + b"}" * 201,
            400,
        ),
        (json.dumps({**LIST, "params": {"x": "y" * (4 << 20)}}).encode(), 413),
    ],
    ids=range(12),
)
async def test_what_is_no_message_is_refused(stack: Stack, body: Any, expected: int) -> None:
    """In our own words, without the sender's."""
    status, told = await post(stack, body)
    assert status == expected
    assert "xxx" not in json.dumps(told)


async def test_wrong_arguments_are_named(stack: Stack) -> None:
    """Each with what is wrong, as a result that the model reads; unknown methods and tools are errors."""
    for arguments, said in (
        ({}, "agent is missing"),
        ({"agent": "x", "message": "m", "extra": 1}, "unknown field extra"),
        ({"agent": "x" * 201, "message": "m"}, "agent is longer than 200 characters"),
        ({"agent": "x", "message": "m" * 100_001}, "message is longer than 100000 characters"),
        ({"agent": "x", "message": "m", "history": [{"role": "user", "content": "a"}] * 101}, "at most 100"),
        ({"agent": "x", "message": "m", "history": [{"role": "system", "content": "a"}]}, "history[0].role"),
        ({"agent": 7, "message": "m"}, "agent must be a text"),
    ):
        params = {"name": "ask_agent", "arguments": arguments}
        status, told = await post(stack, {**LIST, "method": "tools/call", "params": params})
        assert (status, told["result"]["isError"]) == (200, True)
        assert said in told["result"]["content"][0]["text"], arguments
    for body in (
        {**LIST, "method": "tools/call", "params": {"name": "rm -rf"}},
        {**LIST, "method": "resources/list"},
        {**LIST, "method": "logging/setLevel", "params": {"level": "debug"}},
    ):
        status, told = await post(stack, body)
        assert told["error"]["code"] in (-32601, -32602), told


async def test_without_the_library(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """501 with the command that installs it."""
    monkeypatch.setattr(endpoint, "find_spec", lambda name: None)
    status, told = await post(stack)
    assert status == 501
    assert "[mcp]" in told["error"]["message"]


def test_nothing_else_loads_the_library() -> None:
    """The application is made, and every command helped, without a module of it."""
    program = (
        "import sys; import agentsd.web.app, agentsd.cli.compose.factories; "
        "print([n for n in sys.modules if n.split('.')[0] in ('mcp', 'mcp_types', 'httpx2', 'starlette')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
