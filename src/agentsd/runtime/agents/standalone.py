"""Standalone agent, opened, built and closed again: for a test, without store or registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from agentsd.core.manifest.agent import AgentRow
from agentsd.providers.base import LiveAgent
from agentsd.providers.tool import Tool
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.leases import TOOLS
from agentsd.runtime.agents.resolver import merge_agent_fields


@asynccontextmanager
async def open_single_agent(builder: Builder, row: AgentRow) -> AsyncIterator[LiveAgent]:
    """Yield the agent of ``row``'s document. Raises ``DocumentRefused`` where it does not open or build."""
    recipe = await builder.open(await builder.read(row), {})
    providers: dict[str, Any] = {}
    tools: list[Tool] = []
    async with AsyncExitStack() as stack:
        for kind, settings in recipe.settings.items():
            if builder.has_client(kind, settings):
                providers[kind] = builder.build(kind, settings, row.owner)
                stack.push_async_callback(providers[kind].aclose)
        for entry in recipe.tools:
            source = builder.build(TOOLS, entry, row.owner)
            stack.push_async_callback(source.aclose)
            tools += source.tools
        yield LiveAgent(**merge_agent_fields(row, recipe), **providers, tools=tuple(tools))
