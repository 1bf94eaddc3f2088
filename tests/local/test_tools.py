"""The embedded model, forced to call, calls a real HTTP tool, in chats and responses, without a network."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from agentsd.core.manifest.agent import AgentHead
from agentsd.providers.base import LiveAgent
from agentsd.providers.tools.sources import build_tool_source
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.services import chat
from agentsd.services.tools.events import ToolStarted, get_event
from agentsd.services.tools.turn import ToolTurn
from tests.local.conftest import Make
from tests.vendors.tool_server import ToolServer

ASK = {"role": "user", "content": "Where is my order 123456?"}
SIX_DIGITS = {"order_id": {"type": "string", "pattern": "^[0-9]{6}$"}}
CHOICES: dict[str, Any] = {
    "one": {"type": "function", "function": {"name": "order_status"}},
    "any": "required",
}


@pytest.mark.parametrize("choice", CHOICES)
async def test_a_forced_call_is_made(make: Make, sessions: HttpSessions, choice: str) -> None:
    """Its arguments fit the schema, whatever the model knows; then it writes."""
    llm = make("llm", "llama-cpp.embedded", temperature=0, max_tokens=48)
    async with ToolServer() as server:
        http = {"url": f"{server.url}/o/{{order_id}}"}
        names = ("order_status", "weather")
        entries = [{"name": name, "parameters": SIX_DIGITS, "http": http} for name in names]
        spec = AgentHead.model_validate({"tools": entries})
        sources = [build_tool_source(one, sessions) for one in spec.tools]
        tools = tuple(tool for source in sources for tool in source.tools)
        agent = LiveAgent(UUID(int=1), "a", "default", 1, b"", spec, llm=llm, tools=tools)
        body = {"messages": [ASK], "tool_choice": CHOICES[choice]}
        turn = ToolTurn()
        chunks = [chunk async for chunk in chat.stream_chat(agent, body, turn)]
        for source in sources:
            await source.aclose()
        assert [one.outcome for one in turn.uses] == ["ok"]
        called = next(event for chunk in chunks if isinstance(event := get_event(chunk), ToolStarted))
        assert server.last.path == f"/o/{json.loads(called.call.arguments)['order_id']}"
        assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
