"""Watch of MCP tools in use: whether their servers still offer what the locks pinned.

A source that was called is compared again every ``CHECK_SECONDS`` (``providers.tools.mcp_source``). What
was found, here or by a call, becomes the condition of the agent, which heartbeat and notifications report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from agentsd.providers.base import LiveAgent
from agentsd.providers.mcp.exchange import McpFailure
from agentsd.providers.tools.mcp_source import McpTool, McpToolSource
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.snapshot import AgentCondition

LOOK_SECONDS = 5.0
"""Interval of looks at what is known; a look asks those servers only that are due."""
TOOL_CHANGED = "ToolChanged"

_CONCURRENCY_MAX = 16
"""Servers that are asked at a time."""


class ToolWatch:
    """Background task over the agents in use. ``run`` ends only when cancelled."""

    def __init__(self, registry: Registry, *, look_s: float = LOOK_SECONDS) -> None:
        self._registry = registry
        self._look_s = look_s
        self._places = asyncio.Semaphore(_CONCURRENCY_MAX)

    async def run(self) -> None:
        """Look periodically."""
        while True:
            await asyncio.sleep(self._look_s)
            await self.look()

    async def look(self) -> None:
        """Ask the servers that are due, then report what is known of all."""
        sources = {one for _, agent in self._registry.list_built() for one in _find_sources(agent)}
        await asyncio.gather(*(self._check(one) for one in sources if one.is_due))
        for entry, agent in self._registry.list_built():
            changed = {one.host: one.changed for one in _find_sources(agent) if one.changed}
            if changed and entry.condition.type == "Ready":
                self._registry.report(entry, _make_condition(agent.slug, changed.items()))
            elif not changed and entry.condition.reason == TOOL_CHANGED:
                self._registry.report(entry, AgentCondition("Ready", "Opened", "", datetime.now(UTC)))

    async def _check(self, source: McpToolSource) -> None:
        async with self._places:
            try:
                await source.check()
            except McpFailure:  # it may be away: what it would say is unknown
                return


def _find_sources(agent: LiveAgent) -> Iterator[McpToolSource]:
    """Yield the MCP servers of an agent, each once."""
    yield from {tool.source: None for tool in agent.tools if isinstance(tool, McpTool)}


def _make_condition(slug: str, changed: Iterable[tuple[str, tuple[str, ...]]]) -> AgentCondition:
    told = "; ".join(f"{host} changed {', '.join(names)}" for host, names in sorted(changed))
    message = (
        f"the MCP server {told}, which is not used until a new lock is merged: "
        f"agentsd tools diff {slug} shows the change"
    )
    return AgentCondition("Degraded", TOOL_CHANGED, message, datetime.now(UTC))
