"""Tools of one MCP server, as the lock has them: what the server says now reaches no model.

Before the first call, and from then on from time to time (``check``), the server's listing is compared
with the lock. A tool that differs is taken away until they agree again; the others stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlsplit

from agentsd.core.manifest.tool_lock import PinnedServer, PinnedTool, ServerTool
from agentsd.core.manifest.tool_schema import ArgumentSchema
from agentsd.core.trust.rules import normalise_origin
from agentsd.providers.base import ProviderForbidden
from agentsd.providers.mcp.connection import McpConnection, McpTarget
from agentsd.providers.mcp.exchange import FailureKind, McpFailure
from agentsd.providers.tool import ToolDefinition, ToolOutcome, ToolResult
from agentsd.providers.tools.auth_header import make_auth_header
from agentsd.providers.tools.http_tool import RESULT_BYTES_MAX
from agentsd.providers.transport.sessions import HttpSessions

CHECK_SECONDS = 20.0
"""Age of a comparison with the server after which it is made again."""
LIST_SECONDS = 10.0
"""Longest wait for a listing."""

_CHANGED_TEXT = "this tool was changed by its server, and is not used any more"
_OUTCOMES: Mapping[FailureKind, ToolOutcome] = {
    "timeout": "timeout",
    "unreachable": "unreachable",
    "session_lost": "unreachable",
    "forbidden": "refused",
    "needs_input": "refused",
    "redirect": "redirected",
    "too_large": "too_large",
    "unauthorized": "failed",
    "invalid_result": "failed",
    "failed": "failed",
}


class McpToolSource:
    """Entry with ``mcp``. Opens no connection before the first call or check."""

    def __init__(self, settings: PinnedServer, sessions: HttpSessions) -> None:
        server = settings.entry.mcp
        headers, self.redactor = make_auth_header(server.auth_token, "an MCP server")
        host = normalise_origin(server.url)
        if reason := sessions.outbound.refuses_host(urlsplit(host).hostname or ""):
            raise ProviderForbidden(
                f"the MCP server {host}: {reason}",
                hint="AGENTSD_OUTBOUND lists what this server may connect to",
            )
        self.host = host
        seconds = max(settings.entry.timeout_seconds, LIST_SECONDS)
        self.connection = McpConnection(sessions, McpTarget(server.url, headers, seconds=seconds))
        self.tools: tuple[McpTool, ...] = tuple(McpTool(self, settings, one) for one in settings.tools)
        self._checked_at: float | None = None
        self._checking = asyncio.Lock()
        self._used = False

    @property
    def changed(self) -> tuple[str, ...]:
        """Return the names of the tools that were taken away, since the server changed them."""
        return tuple(tool.definition.name for tool in self.tools if not tool.available)

    @property
    def is_due(self) -> bool:
        """Return whether the server was used, and is to be compared again."""
        return self._used and (self._checked_at is None or monotonic() - self._checked_at > CHECK_SECONDS)

    async def prepare(self) -> None:
        """Compare the server with the lock, if that was never done. Raises ``McpFailure``."""
        self._used = True
        if self._checked_at is None or self.connection.is_stale:
            await self.check()

    async def check(self) -> None:
        """Compare the server with the lock now. Raises ``McpFailure``; then nothing is known to differ."""
        asked = monotonic()
        async with self._checking:
            if self._checked_at is not None and self._checked_at > asked:
                return
            try:
                listed = {one.name: one for one in await self.connection.list_tools(LIST_SECONDS)}
            finally:
                if self._checked_at is not None:
                    self._checked_at = monotonic()
            self._checked_at = monotonic()
            for tool in self.tools:
                tool.compare(listed.get(tool.pinned.tool.name))

    async def aclose(self) -> None:
        """End the session."""
        await self.connection.aclose()


class McpTool:
    """Tool of a lock, run by its server."""

    def __init__(self, source: McpToolSource, settings: PinnedServer, pinned: PinnedTool) -> None:
        entry = settings.entry
        self.pinned = pinned
        self.available = True
        self.definition = ToolDefinition(
            pinned.shown_name,
            pinned.tool.description,
            ArgumentSchema(pinned.tool.input_schema),
            "mcp",
            entry.say,
            entry.say_after_ms,
            entry.on_interrupt,
            entry.confirm,
            entry.timeout_seconds,
            target=sha256(f"{entry.mcp.url} {pinned.digest}".encode()).hexdigest(),
        )
        self.source = source

    def compare(self, listed: ServerTool | None) -> None:
        """Take the tool away where the server's own differs from the pinned one; else offer it."""
        self.available = listed is not None and listed.digest == self.pinned.digest

    async def run(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
        """Call the tool and return its answer. Never raises for the server."""
        began, source = perf_counter(), self.source
        outcome, text = await self._call(arguments)
        return ToolResult(outcome, source.redactor.redact(text), (perf_counter() - began) * 1000)

    async def probe(self) -> ToolResult:
        """Compare the tool with the server's listing, which changes nothing there."""
        began = perf_counter()
        try:
            await self.source.check()
        except McpFailure as failure:
            outcome, text = _OUTCOMES[failure.kind], failure.message
        else:
            outcome, text = ("ok", "") if self.available else ("unavailable", _CHANGED_TEXT)
        return ToolResult(outcome, text, (perf_counter() - began) * 1000)

    async def _call(self, arguments: Mapping[str, Any]) -> tuple[ToolOutcome, str]:
        source, seconds = self.source, self.definition.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await source.prepare()
                if not self.available:
                    return "unavailable", _CHANGED_TEXT
                answer = await source.connection.call_tool(self.pinned.tool.name, arguments, seconds)
        except TimeoutError:
            return "timeout", f"the service did not answer within {seconds:g} s"
        except McpFailure as failure:
            return _OUTCOMES[failure.kind], failure.message
        if len(answer.text.encode(errors="replace")) > RESULT_BYTES_MAX:
            return "too_large", f"the answer is longer than {RESULT_BYTES_MAX} bytes: ask for less"
        return "failed" if answer.is_error else "ok", answer.text
