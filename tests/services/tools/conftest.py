"""An agent with tools on a scripted model and a server of tools, both on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from agentsd.core.manifest.agent import AgentHead
from agentsd.providers.base import LiveAgent
from agentsd.providers.catalog import default_catalog
from agentsd.providers.resilience.builder import build_provider
from agentsd.providers.tools.sources import build_tool_source
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.tool_server import ToolServer

ORDER = {"order_id": {"type": "string", "pattern": r"^\d{6}$", "description": "Six digits."}}


@dataclass(frozen=True)
class Bench:
    """The agent, and what it talks to."""

    agent: LiveAgent
    model: OpenAIServer
    tools: ToolServer

    @property
    def paths(self) -> list[str]:
        """Paths of the requests that tools made."""
        return [one.path for one in self.tools.requests]

    def heard(self, request: int = -1) -> list[dict[str, Any]]:
        """Messages of a request to the model, without the prompt."""
        chats = [one.body for one in self.model.requests if "messages" in (one.body or {})]
        return [one for one in chats[request]["messages"] if one["role"] != "system"]


def order_status(url: str, **more: Any) -> dict[str, Any]:
    """The tool of the documentation."""
    http = {"url": f"{url}/orders/{{order_id}}"}
    return {
        "name": "order_status",
        "description": "Looks an order up.",
        "parameters": ORDER,
        "http": http,
        **more,
    }


def poster(url: str, name: str = "create", **more: Any) -> dict[str, Any]:
    """A tool that changes something."""
    http = {"url": f"{url}/{name}", "method": "POST"}
    return {"name": name, "parameters": {"text": {"type": "string"}}, "http": http, **more}


OPEN_PAGE = {"name": "open_page", "client": True, "parameters": {"path": {"type": "string"}}}

MakeBench = Callable[..., Any]


@pytest.fixture
async def tool_server() -> AsyncIterator[ToolServer]:
    """A server of tools."""
    async with ToolServer() as server:
        yield server


@pytest.fixture
async def bench(tool_server: ToolServer) -> AsyncIterator[MakeBench]:
    """``bench(order_status(url), tool_rounds=2)``: an agent with these tools."""
    sessions, closers = HttpSessions(), []
    catalog = default_catalog()
    async with OpenAIServer() as model:

        def make(*entries: dict[str, Any], fallback: str | None = None, **head: Any) -> Bench:
            spec = AgentHead.model_validate({"tools": list(entries), **head})
            section: dict[str, Any] = {"provider": "openai-compatible", "model": "m", "api_url": model.url}
            if fallback is not None:
                section |= {"retries": 1, "fallback": [{**section, "api_url": fallback}]}
            settings = catalog.settings_of("llm", section)
            llm: Any = build_provider(catalog, "llm", settings, sessions, Metrics())
            sources = [build_tool_source(one, sessions) for one in spec.tools]
            closers.extend([llm, *sources])
            tools = tuple(tool for source in sources for tool in source.tools)
            agent = LiveAgent(UUID(int=1), "acme/sales", "acme", 1, b"", spec, llm=llm, tools=tools)
            return Bench(agent, model, tool_server)

        yield make
        for one in closers:
            await one.aclose()
        left = sessions.holders()
        await sessions.aclose()
        assert left == {}
