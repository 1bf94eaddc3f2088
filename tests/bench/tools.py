"""A round of tools: what it adds to calling the tool directly.

The tool answers at once, in a process of its own; the model is a function of this process, so that a turn's
time is that of its round: arguments read and checked, the request made, its answer bounded and decoded, the
next request to the model made. Asked by turns with a direct call over the same client library; a tool of
an MCP server with a call by the SDK's own client, over its own HTTP, to the same server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any
from uuid import UUID

import aiohttp

from agentsd.control.importers.tool_lock import format_lock
from agentsd.core.manifest.agent import AgentHead
from agentsd.core.manifest.tool_lock import PinnedTool, ServerTool, pin_tools
from agentsd.providers.base import LiveAgent
from agentsd.providers.tools.sources import build_tool_source
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.services import chat
from agentsd.services.tools.turn import ToolTurn
from tests.bench.processes import serving
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import run as run_async
from tests.vendors.mcp_server import ADD_SCHEMA

ASK = {"messages": [{"role": "user", "content": "Where is order 123456?"}]}
PARAMETERS = {"order_id": {"type": "string", "pattern": "^[0-9]{6}$"}}


Samples = list[tuple[float, float]]
"""Wall-clock time and CPU of each operation, in seconds."""


ADD = PinnedTool(ServerTool("add", "Adds two numbers.", ADD_SCHEMA))


class Caller:
    """A model that calls the tool, then answers, without a wait."""

    def __init__(self, name: str = "order_status", arguments: str = '{"order_id": "123456"}') -> None:
        self.function = {"name": name, "arguments": arguments}

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The call, or the answer."""
        return {"choices": [{"index": 0, "message": self._message(request), "finish_reason": "stop"}]}

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The same in one chunk."""
        message = self._message(request)
        calls = [{**one, "index": 0} for one in message.get("tool_calls", ())]
        delta = {**message, "tool_calls": calls} if calls else message
        yield {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}

    def _message(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["messages"][-1]["role"] == "tool":
            return {"role": "assistant", "content": "It is on its way."}
        call = {"id": "call_1", "type": "function", "function": self.function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    async def aclose(self) -> None:
        """Nothing is open."""


def run(scale: Scale) -> Sequence[Figure]:
    """A round of tools: what it adds to calling the tool directly."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    with serving([sys.executable, "-m", "tests.vendors.tool_server"], environ) as server:
        times = run_async(_measure(server.url, scale.samples * scale.rounds))
    direct, direct_cpu = _split(times["direct"])
    figures = [Figure("tool called directly, p50", p50(direct), "ms")]
    for name in ("whole", "streamed"):
        wall, cpu = _split(times[name])
        figures.append(Figure(f"tool round, {name}, added, p50", p50(wall) - p50(direct), "ms", 1.0))
        figures.append(Figure(f"tool round, {name}, added, p99", p99(wall) - p99(direct), "ms"))
        figures.append(Figure("  of CPU, p50", p50(cpu) - p50(direct_cpu), "ms"))
    with serving([sys.executable, "-m", "tests.vendors.mcp_server", "--port", "0"], environ) as server:
        times = run_async(_measure_mcp(f"{server.url}/mcp", scale.samples * scale.rounds))
    own, _ = _split(times["sdk"])
    figures.append(Figure("MCP tool by the SDK's own client, p50", p50(own), "ms"))
    for name, text in (("tool", "MCP tool, added, p50"), ("whole", "MCP tool round, whole, added, p50")):
        figures.append(Figure(text, p50(_split(times[name])[0]) - p50(own), "ms"))
    return figures


def _split(samples: Samples) -> tuple[list[float], list[float]]:
    """Milliseconds of wall-clock time and of CPU."""
    return [wall * 1e3 for wall, _ in samples], [cpu * 1e3 for _, cpu in samples]


async def _measure(url: str, samples: int) -> dict[str, Samples]:
    http = {"url": f"{url}/orders/{{order_id}}"}
    spec = AgentHead.model_validate(
        {"tools": [{"name": "order_status", "parameters": PARAMETERS, "http": http}]}
    )
    sessions = HttpSessions()
    [source] = [build_tool_source(one, sessions) for one in spec.tools]
    agent = LiveAgent(UUID(int=1), "a", "default", 1, b"", spec, llm=Caller(), tools=source.tools)
    times: dict[str, Samples] = {"direct": [], "whole": [], "streamed": []}
    async with aiohttp.ClientSession() as client:
        for _ in range(samples):
            with _timed(times["direct"]):
                async with client.get(f"{url}/orders/123456") as reply:
                    await reply.read()
            with _timed(times["whole"]):
                await chat.complete_chat(agent, ASK, ToolTurn())
            turn = ToolTurn()
            with _timed(times["streamed"]):
                async for _ in chat.stream_chat(agent, ASK, turn):
                    continue
            assert [one.outcome for one in turn.uses] == ["ok"]
    await source.aclose()
    await sessions.aclose()
    return times


async def _measure_mcp(url: str, samples: int) -> dict[str, Samples]:
    from mcp import Client

    server = {"url": url, "allow": ["add"]}
    spec = AgentHead.model_validate({"tools": [{"mcp": server}]})
    lock = {"_tools.lock.yaml": format_lock({url: {"add": ADD}}).encode()}
    sessions = HttpSessions()
    [source] = [build_tool_source(one, sessions) for one in pin_tools(spec.tools, "a.yaml", lock)]
    caller = Caller("add", '{"a": 2, "b": 3}')
    agent = LiveAgent(UUID(int=1), "a", "default", 1, b"", spec, llm=caller, tools=source.tools)
    times: dict[str, Samples] = {"sdk": [], "tool": [], "whole": []}
    async with Client(url) as client:
        await client.list_tools()
        for _ in range(samples):
            with _timed(times["sdk"]):
                await client.call_tool("add", {"a": 2, "b": 3})
            with _timed(times["tool"]):
                told = await source.tools[0].run({"a": 2, "b": 3}, {})
            assert told.text == "5"
            with _timed(times["whole"]):
                await chat.complete_chat(agent, ASK, ToolTurn())
    await source.aclose()
    await sessions.aclose()
    return times


@contextmanager
def _timed(into: Samples) -> Iterator[None]:
    began, used = perf_counter(), process_time()
    yield
    into.append((perf_counter() - began, process_time() - used))


if __name__ == "__main__":
    main(run)
