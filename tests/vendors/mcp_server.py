"""MCP servers: one of the official SDK, and a raw one for what no server of the SDK would do.

``python -m tests.vendors.mcp_server --port 8100`` runs the SDK's one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from aiohttp import web
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from tests.vendors.base import VendorServer

ADD_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
WORD_SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}

Run = Callable[[dict[str, Any]], Awaitable[str]]


@dataclass
class ServedTool:
    """A tool of the server."""

    description: str
    schema: dict[str, Any]
    run: Run


async def add(arguments: dict[str, Any]) -> str:
    """The sum."""
    return str(arguments["a"] + arguments["b"])


async def shout(arguments: dict[str, Any]) -> str:
    """The word, louder."""
    return str(arguments["word"]).upper()


def make_tools() -> dict[str, ServedTool]:
    """What a server offers unless a test says otherwise."""
    return {
        "add": ServedTool("Adds two numbers.", dict(ADD_SCHEMA), add),
        "shout.loud": ServedTool("Says a word louder.", dict(WORD_SCHEMA), shout),
    }


class _QuietServer(uvicorn.Server):
    """uvicorn that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class McpServer:
    """A server of the SDK on 127.0.0.1. ``async with McpServer() as server: server.url``."""

    stateless: bool = False
    json_response: bool = False
    token: str | None = None
    tools: dict[str, ServedTool] = field(default_factory=make_tools)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)  # Authorization of every request
    port: int = 0
    _server: _QuietServer | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/mcp"

    async def start(self) -> None:
        """Listens, at the port that it had before."""
        server = Server("test", version="1", on_list_tools=self._list, on_call_tool=self._call)
        app = server.streamable_http_app(json_response=self.json_response, stateless_http=self.stateless)
        config = uvicorn.Config(
            self._check(app), host="127.0.0.1", port=self.port, log_level="critical", ws="none", lifespan="on"
        )
        config.timeout_graceful_shutdown = 1
        self._server = _QuietServer(config)
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            assert not self._task.done()
            await asyncio.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends it, and every session."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._task

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _check(self, app: Any) -> Any:
        async def checked(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                key = dict(scope["headers"]).get(b"authorization", b"").decode() or None
                self.keys.add(key)
                if self.token is not None and key != f"Bearer {self.token}":
                    await send({"type": "http.response.start", "status": 401, "headers": []})
                    await send({"type": "http.response.body", "body": b"secret words"})
                    return
            await app(scope, receive, send)

        return checked

    async def _list(
        self, _: ServerRequestContext[Any, Any], __: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(
            tools=[
                Tool(name=name, description=one.description, input_schema=one.schema)
                for name, one in self.tools.items()
            ]
        )

    async def _call(self, _: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        self.calls.append((params.name, arguments))
        text = await self.tools[params.name].run(arguments)
        return CallToolResult(content=[TextContent(type="text", text=text)])


@contextmanager
def serve_in_thread(server: McpServer) -> Iterator[McpServer]:
    """Runs the server in a thread with a loop of its own, for tests of commands."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ending = asyncio.Event()

    async def hold() -> None:
        async with server:
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(hold(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(30)
        loop.close()


Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | dict[str, Any] | None]]
"""Answers one message: a whole response, the result of the request, or None for what is usual."""


class RawMcpServer(VendorServer):
    """A server that speaks JSON-RPC by hand, and does what ``answer`` says.

    ``modern``: the revision without a handshake; else the one with it, and a session.
    """

    def __init__(self, answer: Answer, *, modern: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.modern = modern
        self.methods: list[str] = []

    @property
    def mcp_url(self) -> str:
        """Where it answers."""
        return f"{self.url}/mcp"

    def routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/{path:.*}", self.serve)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One message."""
        if request.method != "POST":
            self.methods.append(request.method)
            return web.Response(status=405)
        message = await request.json()
        self.receive(request, message)
        method = message.get("method", "(response)")
        self.methods.append(method)
        made = await self.answer(request, message)
        if isinstance(made, web.StreamResponse):
            return made
        result = made if made is not None else self.usual(method)
        if "id" not in message or "method" not in message:
            return web.Response(status=202)
        if result is None:
            return web.Response(status=404)
        headers = {} if self.modern else {"Mcp-Session-Id": "one"}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)

    def usual(self, method: str) -> dict[str, Any] | None:
        """The result that nobody asked to be otherwise."""
        info = {"name": "raw", "version": "1"}
        if method == "initialize" and not self.modern:
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        if method == "server/discover" and self.modern:
            return {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "public",
            }
        if method == "tools/list":
            more = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"} if self.modern else {}
            return {"tools": [describe("add", "Adds two numbers.", ADD_SCHEMA)], **more}
        if method == "tools/call":
            more = {"resultType": "complete"} if self.modern else {}
            return {"content": [{"type": "text", "text": "5"}], **more}
        return None


def describe(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A tool as a listing has it."""
    return {"name": name, "description": description, "inputSchema": schema}


async def send_events(request: web.Request, *messages: dict[str, Any] | bytes) -> web.StreamResponse:
    """Answers by a stream of events; bytes go out as they are."""
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(request)
    for message in messages:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        data = raw if isinstance(message, bytes) else b"event: message\ndata: " + raw + b"\n\n"
        await stream.write(data)
    await stream.write_eof()
    return stream


async def run(port: int) -> None:
    """Runs the SDK's server until it is interrupted."""
    async with McpServer(port=port) as server:
        print(f"MCP server at {server.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    asyncio.run(run(parser.parse_args().port))
