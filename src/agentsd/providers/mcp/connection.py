"""Connection to one MCP server: a session that is opened at the first call, and again where it was lost.

Loaded by every process that builds an agent with MCP tools; the SDK is imported when a session is
opened, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agentsd.core.manifest.tool_lock import ServerTool
from agentsd.providers.mcp.exchange import McpFailure
from agentsd.providers.outbound import OutboundRefused
from agentsd.providers.transport.sessions import HttpSessions, SessionClaim

if TYPE_CHECKING:
    from agentsd.providers.mcp.results import McpAnswer
    from agentsd.providers.mcp.session import McpSession

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class McpTarget:
    """Server, and how to reach it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # with the key, if there is one
    connect_seconds: float = 5.0
    seconds: float = 30.0  # of one exchange


class McpConnection:
    """Connection of one agent to one server. Opens nothing before the first exchange."""

    def __init__(self, sessions: HttpSessions, target: McpTarget) -> None:
        self._sessions = sessions
        self._target = target
        self._claim: SessionClaim | None = None
        self._session: McpSession | None = None
        self._opening = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Return whether a session is open."""
        return self._session is not None and not self._session.ended

    @property
    def is_stale(self) -> bool:
        """Return whether the server has said that its tools have changed since they were listed."""
        return self._session is not None and self._session.is_stale

    async def list_tools(self, seconds: float | None = None) -> tuple[ServerTool, ...]:
        """Return the tools that the server lists now. Raises ``McpFailure``."""
        wait = seconds or self._target.seconds
        return await self._use(lambda session: session.list_tools(wait))

    async def call_tool(self, name: str, arguments: Mapping[str, Any], seconds: float) -> McpAnswer:
        """Return the answer of a tool. Raises ``McpFailure``.

        A call is sent once; only where the server had ended the session, and so done nothing, it is sent
        again in a new one.
        """
        return await self._use(lambda session: session.call_tool(name, arguments, seconds))

    async def aclose(self) -> None:
        """End the session, and give up the claim."""
        self._closed = True
        await self._retire()
        if self._retired:
            await asyncio.wait(set(self._retired))
        if self._claim is not None:
            await self._claim.release()

    async def _use(self, exchange: Callable[[McpSession], Awaitable[_Value]]) -> _Value:
        session = await self._open()
        try:
            return await exchange(session)
        except McpFailure as failure:
            if failure.kind in ("timeout", "unreachable", "session_lost"):
                await self._retire(session)
            if failure.kind != "session_lost":
                raise
        return await exchange(await self._open())

    async def _open(self) -> McpSession:
        if self._session is not None and not self._session.ended:
            return self._session
        async with self._opening:
            if self._session is None or self._session.ended:
                self._session = await self._open_session()
            return self._session

    async def _open_session(self) -> McpSession:
        if self._closed:
            raise McpFailure("unreachable", "the agent was replaced")
        session = await asyncio.to_thread(_import_session)
        target = self._target
        timeouts = session.HttpTimeouts(target.connect_seconds, target.seconds)
        opened: McpSession = await session.open_session(
            self._take_claim(), target.url, target.headers, timeouts
        )
        return opened

    def _take_claim(self) -> SessionClaim:
        if self._claim is None:
            try:
                self._claim = self._sessions.acquire(self._target.url)
            except OutboundRefused as error:
                raise McpFailure("forbidden", str(error)) from None
            except ValueError:
                raise McpFailure("failed", "its URL cannot be used") from None
        return self._claim

    async def _retire(self, session: McpSession | None = None) -> None:
        """Open a new session at the next exchange; those that use the present one end with it."""
        old = session or self._session
        if old is None or (session is not None and session is not self._session):
            return
        self._session = None
        task = asyncio.create_task(old.aclose(), name="mcp session end")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


def _import_session() -> Any:
    from agentsd.providers.mcp import session

    return session
