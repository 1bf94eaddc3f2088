"""Measure what ended calls leave behind in a server process: ``python -m tests.soak.call_memory [calls]``.

A real ``agentsd up`` with vendors' servers in processes of their own. Calls run 40 at a time and end in
every way that a call ends; the table holds the memory of the process while no call is open. Before them 40
calls stay open, each after a turn: what a further call takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.fleet import Fleet
from tests.bench.processes import Server, up, workspace
from tests.bench.voice import manifest_of, vendor_servers
from tests.services.speech import silence, spoken
from tests.web.voices import Line

CALLS = 800
AT_A_TIME = 40
EVERY = 200
SETTLE_SECONDS = 3.0
ENDS = ("whole turn", "abort in the answer", "before session.update", "failing vendor", "close while heard")


@dataclass(frozen=True)
class Memory:
    """Megabytes of one process after so many calls."""

    calls: int
    rss: float
    pss: float
    peak: float


@dataclass(frozen=True)
class Result:
    """Memory before the calls and after each so many; megabytes of a further call while it is open."""

    table: list[Memory]
    further: float


def measure(calls: int = CALLS, every: int = EVERY) -> Result:
    """Make ``calls`` calls, and look at the memory after each ``every``."""
    with workspace() as folder, vendor_servers() as urls:
        fleet = Fleet(folder / "agents.d", folder / "no-key", 2)
        fleet.root.mkdir()
        fleet.key_file.write_text("")
        refused = {**urls, "llm": "http://127.0.0.1:9"}
        for name, where in {"bot": urls, "slow": {**urls, "llm": urls["slow"]}, "broken": refused}.items():
            (fleet.root / f"{name}.yaml").write_text(json.dumps(manifest_of(where)))
        with up(fleet, folder, rate_limit="off", rate_limit_address="off") as server:
            return asyncio.run(_measure(server, calls, every))


async def _measure(server: Server, calls: int, every: int) -> Result:
    async with aiohttp.ClientSession() as client:
        await _call(client, server.url, 0)  # libraries are loaded by the first one
        further = await _measure_open(client, server)  # first: later calls use what ended ones left
        table = [await _memory(server, 0)]
        for first in range(0, calls, every):
            await _calls(client, server.url, range(first, min(first + every, calls)))
            table.append(await _memory(server, min(first + every, calls)))
        return Result(table, further)


async def _measure_open(client: aiohttp.ClientSession, server: Server) -> float:
    """Return the megabytes that one more open call takes, after a whole turn of each."""
    async with AsyncExitStack() as stack:
        sizes = []
        for _ in range(AT_A_TIME + 1):
            url = f"{server.url}/v1/realtime?model=bot"
            line = Line(await stack.enter_async_context(client.ws_connect(url, max_msg_size=0)))
            await line.append(silence(0.3) + spoken() + silence(0.8))
            await _until(line, "response.done")
            sizes.append(server.resident())
        return (sizes[-1] - sizes[0]) / AT_A_TIME


async def _calls(client: aiohttp.ClientSession, url: str, numbers: range) -> None:
    """Waves of calls that are open at the same time."""
    for at in range(numbers.start, numbers.stop, AT_A_TIME):
        wave = range(at, min(at + AT_A_TIME, numbers.stop))
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            for number in wave:
                tasks.create_task(_call(client, url, number))


async def _call(client: aiohttp.ClientSession, url: str, number: int) -> None:
    """One call, which ends in the way that its number chooses."""
    way = ENDS[number % len(ENDS)]
    model = {"abort in the answer": "slow", "failing vendor": "broken"}.get(way, "bot")
    async with client.ws_connect(f"{url}/v1/realtime?model={model}", max_msg_size=0) as socket:
        line = Line(socket)
        await line.until("session.created")
        if way == "before session.update":
            return
        await line.append(silence(0.3) + spoken() + silence(0.1 if way == "close while heard" else 0.8))
        if way == "close while heard":
            await _until(line, "input_audio_buffer.speech_started")
        elif way == "abort in the answer":
            await _until(line, "response.output_audio.delta")
            _abort(socket)
        else:
            await _until(line, "response.done")


async def _until(line: Line, kind: str) -> None:
    """Wait for an event of that type, or for a failed turn: vendors are slow on a busy machine."""
    while (seen := (await line.next())["type"]) not in (kind, "error"):
        if seen.endswith("transcription.failed"):
            return


def _abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    connection = socket._response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _memory(server: Server, calls: int) -> Memory:
    """Memory once the process has had time to tidy up."""
    await asyncio.sleep(SETTLE_SECONDS)
    fields = _fields(Path(f"/proc/{server.pid}/smaps_rollup"))
    peak = _fields(Path(f"/proc/{server.pid}/status"))["VmHWM"]
    return Memory(calls, fields["Rss"], fields["Pss"], peak)


def _fields(file: Path) -> dict[str, float]:
    """Megabytes by name, of a file of ``/proc``."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if words[-1:] == ["kB"]}


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    calls = int(arguments[0]) if arguments else CALLS
    print(f"{'calls':>6} {'RSS MB':>8} {'PSS MB':>8} {'peak MB':>8}")
    result = measure(calls, min(EVERY, calls))
    for one in result.table:
        print(f"{one.calls:>6} {one.rss:>8.0f} {one.pss:>8.0f} {one.peak:>8.0f}", flush=True)
    print(f"a further open call: {result.further:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
