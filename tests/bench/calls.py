"""Calls in real time beside Pipecat and LiveKit Agents: first sound, barge-in, CPU and memory, capacity.

All systems ask the same vendors' server: a transcript 150 ms after a recording is whole, the first word
after 100 ms, the first sound of a sentence after 80 ms. All sound is synthetic (flite's voice, and the same
reversed). ``AGENTSD_BENCH_PIPECAT`` and ``AGENTSD_BENCH_LIVEKIT`` name the Python of environments in which
those are installed (tests/bench/peers); without them only agentsd is measured. agentsd speaks OpenAI's
Realtime protocol at 24 kHz, JSON and base64 included; the peers get bare samples, which is cheaper.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.bench.callers import (
    CallLog,
    Dialect,
    Script,
    make_calls,
    make_script,
    resample,
    speak_binary,
    speak_realtime,
)
from tests.bench.fleet import Fleet
from tests.bench.processes import Server, serving, up, workspace
from tests.bench.report import Figure, Scale, main, p50
from tests.bench.wire import run as run_async
from tests.services.speech import spoken
from tests.vendors.openai_server import OpenAIServer

PEERS = {
    "Pipecat": ("AGENTSD_BENCH_PIPECAT", "pipecat_agent.py", 16_000),
    "LiveKit Agents": ("AGENTSD_BENCH_LIVEKIT", "livekit_agent.py", 24_000),
}
"""By name: the variable of its Python, its program, and the rate of its microphone."""
OWN = "agentsd"
PATIENT = {"silence-patient": "silence", "smart-patient": "smart"}
"""Agents that begin no answer before the end of speech is certain, and their detection."""
KINDS = ("silence", "smart", "slow", *PATIENT)
QUESTION = "What are your opening hours?"
ANSWER = ("We ", "are ", "open ", "from ", "nine ", "to ", "five. ", "Please ", "come ", "by ", "then.")
HEARD_SECONDS, THOUGHT_SECONDS, VOICED_SECONDS = 0.15, 0.1, 0.08
SOUND_BYTES = 960
"""Twenty milliseconds."""
LATE_MS = 150
"""How much later than alone the first sound is late."""
OPEN_CALLS = (1, 10, 30)
STEPS = (45, 60, 80, 100, 120, 150)
"""Calls at a time, until their sound is late."""


class CallVendor(OpenAIServer):
    """All three vendors, each with its own delay; the voice named ``slow`` speaks in real time."""

    async def _transcribe(self, request: web.Request, form: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(HEARD_SECONDS)
        return await super()._transcribe(request, form)

    async def _complete(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(THOUGHT_SECONDS)
        return await super()._complete(request, body)

    async def _speak(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(VOICED_SECONDS)
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        began, sent = time.perf_counter(), 0
        while sent < len(self.audio):
            await response.write(self.audio[sent : sent + SOUND_BYTES])
            sent += SOUND_BYTES
            if body["model"] == "slow":
                await asyncio.sleep(max(0.0, began + sent / 48_000 - time.perf_counter()))
        return response


@dataclass(frozen=True)
class System:
    """One framework at work."""

    name: str
    server: Server
    dialects: dict[str, Dialect]  # by kind


@dataclass(frozen=True)
class Stage:
    """What so many calls at a time cost, and how long their callers waited for sound."""

    calls: int
    cpu: float  # seconds in a minute of one call
    resident: float  # megabytes while they were open
    waits: list[float]  # ms
    errors: int


def run(scale: Scale) -> Sequence[Figure]:
    """Calls in real time: first sound, barge-in, CPU, memory, calls of a core; beside Pipecat and LiveKit."""
    tiny = scale == Scale.tiny()
    with workspace() as folder, ExitStack() as stack:
        command = [sys.executable, "-m", "tests.bench.calls", "--serve"]
        vendor = stack.enter_context(serving(command, {"PATH": ""})).url
        starters = (_start_agentsd, *(_make_starter(name) for name in PEERS))
        started = [stack.enter_context(start(folder, vendor)) for start in starters]
        return run_async(_measure_all([one for one in started if one is not None], tiny=tiny))


async def _measure_all(systems: Sequence[System], *, tiny: bool) -> list[Figure]:
    """Return all figures. The systems take turns, so that a busy machine is as busy for each."""
    turns, counts, rounds = (1, OPEN_CALLS[:2], 1) if tiny else (5, OPEN_CALLS, 2)
    idle = [one.server.resident() for one in systems]
    figures = [_read_load("before")]
    for system in systems:
        figures += await _measure_single_calls(system, turns)
    figures.append(_read_load("after single calls"))
    stages: list[list[Stage]] = [[] for _ in systems]
    for many in counts:
        for system, found in zip(systems, stages, strict=True):
            found.append(await _measure_stage(system, many, rounds))
    for system, found, before in zip(systems, stages, idle, strict=True):
        figures += _describe_stages(system.name, found, before, own=system.name == OWN)
    figures.append(_read_load("after 30 calls"))
    for system, found in zip(systems, stages, strict=True):
        if not tiny:
            many = await _find_capacity(system, found)
            figures.append(Figure(f"{system.name}: calls before sound is late, tried", many, "calls"))
    return [*figures, _read_load("after")]


def _read_load(when: str) -> Figure:
    return Figure(
        f"load of this machine, of its cores, {when}", os.getloadavg()[0] / (os.cpu_count() or 1), ""
    )


async def _measure_single_calls(system: System, turns: int) -> list[Figure]:
    """Return the figures of one caller at a time for each kind of agent, some at once."""
    own, name = system.name == OWN, system.name
    kinds = {"silence": 640, "smart": 500, **(dict.fromkeys(PATIENT) if own else {})}
    slow, waited = await asyncio.gather(
        _measure_barge_in(system, turns),
        asyncio.gather(*(_measure_first_sound(system, one, turns + 1) for one in kinds)),
    )
    figures = []
    for (kind, goal), waits in zip(kinds.items(), waited, strict=True):
        what = f"{name}: end of (synthetic) speech → first sound, {kind}, p50"
        figures.append(Figure(what, p50(waits), "ms", goal if own else None))
        figures.append(Figure("  p90", _p90(waits), "ms"))
    held, sure = slow.held("interruption-begins"), slow.confirmations("interruption-begins")
    what = f"{name}: onset of (synthetic) speech → no more sound, p50"
    figures.append(Figure(what, _p50(held), "ms", 40 if own else None))
    figures.append(Figure("  p90", _p90(held), "ms"))
    figures.append(Figure("  onset → the interruption is confirmed, p50", _p50(sure), "ms"))
    return figures


async def _measure_first_sound(system: System, kind: str, rounds: int) -> list[float]:
    dialect = system.dialects[kind]
    (log,) = await make_calls(dialect, _make_talk(dialect.rate), 1, rounds)
    _complain(system, log)
    return log.first_sounds("question-ends")[1:] or log.first_sounds(
        "question-ends"
    )  # the first loads libraries


async def _measure_barge_in(system: System, rounds: int) -> CallLog:
    dialect = system.dialects["slow"]
    said = resample(spoken(), 24_000, dialect.rate)
    script = make_script(
        ("", 0.5), ("question", said), ("", 2.5), ("interruption", said), ("", 6.5), rate=dialect.rate
    )
    (log,) = await make_calls(dialect, script, 1, rounds)
    _complain(system, log)
    return log


async def _measure_stage(system: System, calls: int, rounds: int) -> Stage:
    dialect = system.dialects["silence"]
    script = _make_talk(dialect.rate)
    before, residents = system.server.cpu(), [system.server.resident()]

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.5)
            residents.append(system.server.resident())

    watching = asyncio.create_task(watch())
    logs = await make_calls(dialect, script, calls, rounds)
    watching.cancel()
    spent = system.server.cpu() - before
    waits = [wait for log in logs for wait in log.first_sounds("question-ends")]
    errors = sum(len(log.errors) for log in logs)
    return Stage(calls, spent / (calls * rounds * script.seconds / 60), max(residents), waits, errors)


def _describe_stages(name: str, stages: Sequence[Stage], idle: float, *, own: bool) -> Iterator[Figure]:
    for stage in stages:
        last = stage is stages[-1]
        what = f"{name}: CPU in a minute of call, {stage.calls} calls"
        yield Figure(what, stage.cpu, "s", 0.54 if own and last else None)
        yield Figure("  memory of the process", stage.resident, "MB")
        yield Figure("  first sound, p90", _p90(stage.waits), "ms")
    first, last_stage = stages[0], stages[-1]
    further = (last_stage.resident - first.resident) / (last_stage.calls - first.calls)
    yield Figure(f"{name}: memory of a further call", further, "MB", 1 if own else None)
    yield Figure("  of the first one, libraries included", first.resident - idle, "MB")
    goal = 110 if own else None
    yield Figure(
        f"{name}: calls of one core, by their CPU", 60 / last_stage.cpu, "calls", goal, at_least=True
    )


async def _find_capacity(system: System, stages: Sequence[Stage]) -> int:
    """Return the most calls of which nine in ten get their first sound in time."""
    alone, most = p50(stages[0].waits), 0
    for stage in stages:
        if _p90(stage.waits) <= alone + LATE_MS:
            most = stage.calls
    for calls in STEPS:
        stage = await _measure_stage(system, calls, 2)
        print(f"  {system.name}: {calls} calls, {stage.cpu:.2f} s, p90 {_p90(stage.waits):.0f} ms, "
              f"{stage.errors} errors", file=sys.stderr, flush=True)  # fmt: skip
        if _p90(stage.waits) > alone + LATE_MS or stage.errors:
            break
        most = calls
    return most


def _make_talk(rate: int) -> Script:
    """Return a question, and time for its answer."""
    said = resample(spoken(), 24_000, rate)
    return make_script(("", 0.5), ("question", said), ("", 5.5), rate=rate)


def _complain(system: System, log: CallLog) -> None:
    if log.errors:
        print(f"  {system.name}: {log.errors[0]}", file=sys.stderr, flush=True)


def _p50(values: Sequence[float]) -> float:
    return p50(values) if values else math.inf


def _p90(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.9) - 1] if values else math.inf


@contextmanager
def _start_agentsd(folder: Path, vendor: str) -> Iterator[System | None]:
    fleet = Fleet(folder / "agents.d", folder / "no-key", len(KINDS))
    fleet.root.mkdir()
    fleet.key_file.write_text("")
    for kind in KINDS:
        (fleet.root / f"{kind}.yaml").write_text(json.dumps(_make_manifest(kind, vendor)))
    with up(fleet, folder, rate_limit="off", rate_limit_address="off", max_calls="0") as server:
        yield System(OWN, server, {kind: speak_realtime(server.url, kind) for kind in KINDS})


def _make_manifest(kind: str, vendor: str) -> dict[str, Any]:
    api = {"provider": "openai-compatible", "model": "m", "api_url": vendor}
    detection = "smart" if "smart" in kind else "silence"
    turn: dict[str, Any] = {"detection": detection, "silence_ms": 500, "eager": kind not in PATIENT}
    return {
        "id": str(uuid4()),
        "system_prompt": "You are terse.",
        "llm": api,
        "tts": {**api, "model": kind, "voice": "alloy"},
        "stt": api,
        "turn": turn,
    }


def _make_starter(name: str) -> Any:
    variable, program, rate = PEERS[name]

    @contextmanager
    def start(folder: Path, vendor: str) -> Iterator[System | None]:
        python = os.environ.get(variable)
        if not python:
            print(f"{variable} is not set: {name} is not measured", file=sys.stderr)
            yield None
            return
        command = [python, str(Path(__file__).with_name("peers") / program), vendor]
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "OPENAI_API_KEY": "none"}
        with serving(command, environ) as server:
            url = server.url
            yield System(name, server, {kind: speak_binary(f"{url}/{kind}", rate) for kind in KINDS})

    return start


async def _serve() -> None:
    voice = array("h", spoken(24_000))
    voice.reverse()  # another voice than the caller's: the agent's own is an echo
    server = CallVendor(words=ANSWER, audio=voice.tobytes(), transcript=QUESTION, record=False)
    async with server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(_serve())
    else:
        main(run)
