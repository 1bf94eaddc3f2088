"""Session with one MCP server by the official SDK. Imports ``mcp``: import it where one is opened.

The SDK's client belongs to the task that entered it, so each session has a task of its own, which
waits until the session is closed. Calls come from any task, several at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    PARSE_ERROR,
    CallToolResult,
    Implementation,
    InputRequiredResult,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from agentsd import __version__
from agentsd.core.manifest.tool_lock import ServerTool
from agentsd.providers.mcp.exchange import EXCHANGE, Exchange, FailureKind, McpFailure
from agentsd.providers.mcp.guarded_http import REPLY_BYTES_MAX, GuardedTransport, HttpTimeouts
from agentsd.providers.mcp.results import McpAnswer, read_answer
from agentsd.providers.transport.sessions import SessionClaim

LISTED_MAX = 1000
"""Tools of one server; a listing that goes on is cut off as too large."""
PAGES_MAX = 50
CLOSE_SECONDS = 10.0
"""Wait for the end of a session, before its task is cancelled."""

_Value = TypeVar("_Value")


@dataclass(slots=True)
class Notices:
    """Notifications of a server, as far as they are of use here."""

    tools_changed: bool = False

    async def take(self, message: object) -> None:
        """Take one notification, or an error of the SDK's stream."""
        if isinstance(message, ToolListChangedNotification):
            self.tools_changed = True


class McpSession:
    """Session with one server, open until ``aclose``."""

    def __init__(
        self, client: Client, task: asyncio.Task[None], closing: asyncio.Event, notices: Notices
    ) -> None:
        self._client = client
        self._notices = notices
        self._task = task
        self._closing = closing
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ended(self) -> bool:
        """Return whether the session cannot be used any more."""
        return self._task.done() or self._closing.is_set()

    @property
    def is_stale(self) -> bool:
        """Return whether the server has said that its tools are others than those listed last."""
        return self._notices.tools_changed

    async def list_tools(self, seconds: float) -> tuple[ServerTool, ...]:
        """Return all tools of the server as it lists them now. Raises ``McpFailure``."""
        self._notices.tools_changed = False
        return await self._run(self._list_pages, seconds)

    async def _list_pages(self) -> tuple[ServerTool, ...]:
        found: list[ServerTool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await self._client.list_tools(cursor=cursor)
            found += [
                ServerTool(one.name, one.description or "", one.input_schema, one.output_schema)
                for one in page.tools
            ]
            cursor = page.next_cursor
            if cursor is None or len(found) > LISTED_MAX:
                break
        if cursor is not None or len(found) > LISTED_MAX:
            raise McpFailure("too_large", f"more than {LISTED_MAX} tools, or {PAGES_MAX} pages of them")
        return tuple(found)

    async def call_tool(self, name: str, arguments: Mapping[str, Any], seconds: float) -> McpAnswer:
        """Return the answer of one tool. Raises ``McpFailure``."""

        async def call() -> McpAnswer:
            result = await self._client.session.call_tool(name, dict(arguments), allow_input_required=True)
            if isinstance(result, InputRequiredResult):
                raise McpFailure("needs_input")
            assert isinstance(result, CallToolResult)  # noqa: S101 - no extension is announced
            return read_answer(result)

        return await self._run(call, seconds)

    async def _run(self, work: Callable[[], Awaitable[_Value]], seconds: float) -> _Value:
        self._busy += 1
        self._idle.clear()
        try:
            return await _exchange(work, seconds)
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def aclose(self) -> None:
        """End the session, once its calls have ended: each has a timeout of its own."""
        await self._idle.wait()
        self._closing.set()
        done, _ = await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task})


async def open_session(
    claim: SessionClaim, url: str, headers: Mapping[str, str], timeouts: HttpTimeouts
) -> McpSession:
    """Open a session with the server at ``url``. Raises ``McpFailure``."""
    opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    closing = asyncio.Event()
    transport = GuardedTransport(claim, url, headers, timeouts)
    exchange, notices = Exchange(), Notices()
    holding = _hold(url, transport, exchange, opened, closing, notices)
    task = asyncio.create_task(holding, name="mcp session")
    waiting: list[asyncio.Future[Any]] = [opened, task]
    try:
        async with asyncio.timeout(timeouts.whole):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        exchange.note("timeout")
    except asyncio.CancelledError:
        task.cancel()
        raise
    if opened.done() and not opened.cancelled():
        return McpSession(opened.result(), task, closing, notices)
    task.cancel()
    await asyncio.wait({task})
    raise exchange.failure or McpFailure("invalid_result")


async def _hold(
    url: str,
    transport: GuardedTransport,
    exchange: Exchange,
    opened: asyncio.Future[Client],
    closing: asyncio.Event,
    notices: Notices,
) -> None:
    """Hold the SDK's client open until ``closing``; what it raises is noted, and never leaves."""
    EXCHANGE.set(exchange)
    try:
        async with (
            httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None) as http,
            Client(
                streamable_http_client(url, http_client=http, max_sse_event_size=REPLY_BYTES_MAX),
                client_info=Implementation(name="agentsd", version=__version__),
                cache=None,
                message_handler=notices.take,
            ) as client,
        ):
            opened.set_result(client)
            await closing.wait()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # the SDK's group of errors, which may quote what the server sent
        if exchange.failure is None:
            exchange.note("failed" if isinstance(error, MCPError) else "invalid_result")


async def _exchange(work: Callable[[], Awaitable[_Value]], seconds: float) -> _Value:
    """Return what ``work`` returns. Raises ``McpFailure``, by what its requests met."""
    exchange = Exchange()
    token = EXCHANGE.set(exchange)
    try:
        async with asyncio.timeout(seconds):
            return await work()
    except McpFailure:
        raise
    except TimeoutError:
        raise McpFailure("timeout") from None
    except MCPError as error:
        kind: FailureKind = "invalid_result" if error.code == PARSE_ERROR else "failed"
        raise exchange.failure or McpFailure(kind) from None
    except (ValidationError, RuntimeError, ValueError):  # what it sent is not the protocol, or not the schema
        raise exchange.failure or McpFailure("invalid_result") from None
    except Exception:  # of the SDK's own streams: the session has ended
        raise exchange.failure or McpFailure("unreachable") from None
    finally:
        EXCHANGE.reset(token)
