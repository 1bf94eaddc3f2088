"""Hot swaps of tools under turns that use them: each turn is of one version, and nothing is left over."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsd.services import chat
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.voicebot.streams import extract_content
from tests.runtime.agents.test_swaps import ASK, sockets
from tests.runtime.conftest import Sealed
from tests.runtime.world import World, following, serves, until
from tests.vendors.openai_server import Call, OpenAIServer
from tests.vendors.tool_server import ToolServer

TOOLS = """\
tools:
  - name: tool_NUMBER
    parameters: {word: {type: string}}
    http: {url: "URL/vNUMBER/{word}"}
"""


class Caller(OpenAIServer):
    """A model that calls the one tool it is offered, then repeats what the tool said, and its name."""

    def play(self, body: dict[str, Any]) -> list[str | Call]:
        """The call, or the answer."""
        name = body["tools"][0]["function"]["name"]
        last = body["messages"][-1]
        return [f"{name} {last['content']}"] if last["role"] == "tool" else [Call(name, '{"word": "a"}')]


@pytest.fixture
async def vendor() -> AsyncIterator[Caller]:
    """In the place of the folder's vendor."""
    async with Caller(record=False) as server:
        yield server


@pytest.fixture
async def tools() -> AsyncIterator[ToolServer]:
    """A server of tools, which takes a moment."""
    async with ToolServer(record=False, delay=0.002) as server:
        yield server


def with_tool(text: str, url: str, number: int) -> str:
    """A manifest whose only tool is that of version ``number``."""
    return text.replace("sops:", TOOLS.replace("URL", url).replace("NUMBER", str(number)) + "sops:")


async def swap_under_turns(world: World, text: str, url: str, *, swaps: int, clients: int) -> list[int]:
    """``swaps`` versions go live under ``clients`` turns at a time; return the version of each turn."""
    await world.put(a=with_tool(text, url, 1))
    versions: list[int] = []
    swapping = True

    async def client() -> None:
        while swapping:
            async with world.registry.lease("a") as agent:
                turn = ToolTurn()
                chunks = [chunk async for chunk in chat.stream_chat(agent, ASK, turn)]
            said, number = "".join(map(extract_content, chunks)), agent.version
            assert said == f'tool_{number} {{"path": "/v{number}/a"}}'
            assert [one.outcome for one in turn.uses] == ["ok"]
            versions.append(number)

    async with following(world, poll_s=3600), asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
        for version in range(2, swaps + 2):
            head = await world.put(a=with_tool(text, url, version))
            assert head.version == version
            await until(world.registry, serves(world, version))
        swapping = False
    return versions


async def test_swaps_of_tools_under_turns(world: World, sealed: Sealed, tools: ToolServer) -> None:
    """Forty swaps under five clients."""
    versions = await swap_under_turns(world, sealed(), tools.url, swaps=40, clients=5)
    assert len(set(versions)) > 5
    assert world.value("agentsd_leases_in_use") == 0
    assert world.value("agentsd_providers_open", kind="tools") == 1
    assert world.value("agentsd_providers_open", kind="llm") == 1
    assert world.value("agentsd_build_failures_total", reason="BuildFailed") == 0


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_thousand_swaps_of_tools_under_twenty_clients(
    world: World, sealed: Sealed, tools: ToolServer
) -> None:
    """No turn fails, and no connection is left."""
    text = sealed()
    gc.collect()
    before = sockets()
    versions = await swap_under_turns(world, text, tools.url, swaps=1000, clients=20)
    gc.collect()
    print(f"{len(versions)} turns over {len(set(versions))} versions")
    assert len(set(versions)) > 200
    assert world.value("agentsd_providers_open", kind="tools") == 1
    assert sockets() - before <= 4 * 20 + 4  # warm connections to model and tool, both ends
