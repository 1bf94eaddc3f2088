"""Tools without any network: the embedded model is forced to call a real MCP server on this machine."""

from __future__ import annotations

from uuid import UUID

import pytest

from agentsd.core.manifest.agent import AgentHead
from agentsd.core.manifest.tool_lock import PinnedServer, PinnedTool, ServerTool
from agentsd.core.manifest.tools import McpTools
from agentsd.providers.base import LiveAgent
from agentsd.providers.tools.sources import build_tool_source
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.services import chat
from agentsd.services.tools.turn import ToolTurn
from tests.local.conftest import Make
from tests.vendors.mcp_server import WORD_SCHEMA, McpServer

PINNED = PinnedTool(ServerTool("shout.loud", "Says a word louder.", WORD_SCHEMA), "shout_loud")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_embedded_model_calls_an_mcp_server(
    make: Make, sessions: HttpSessions, stream: bool
) -> None:
    """By ``tool_choice``: the server gets arguments of its schema, and the model answers with its result."""
    llm = make("llm", "llama-cpp.embedded")
    async with McpServer() as server:
        entry = McpTools.model_validate({"mcp": {"url": server.url, "allow": ["shout.loud"]}})
        source = build_tool_source(PinnedServer(entry, (PINNED,)), sessions)
        agent = LiveAgent(UUID(int=1), "a", "default", 1, b"", AgentHead(), llm=llm, tools=source.tools)
        choice = {"type": "function", "function": {"name": "shout_loud"}}
        asked = {
            "messages": [{"role": "user", "content": "Say hello, loudly."}],
            "tool_choice": choice,
            "max_tokens": 64,
            "temperature": 0,
        }
        turn = ToolTurn()
        if stream:
            async for _ in chat.stream_chat(agent, asked, turn):
                continue
        else:
            answer = await chat.complete_chat(agent, asked, turn)
            assert answer["choices"][0]["message"]["content"]
        await source.aclose()
    ((name, arguments),) = server.calls
    assert (name, list(arguments)) == ("shout.loud", ["word"])
    assert isinstance(arguments["word"], str)
    assert [(one.name, one.outcome) for one in turn.uses] == [("shout_loud", "ok")]
