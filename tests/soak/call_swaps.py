"""Calls while agents, runtimes and Postgres change below them: ``python -m tests.soak.call_swaps [calls]``.

Two real ``agentsd serve`` behind a balancer, one Postgres, and callers who speak and write all the time.
Three forms: ``swap``, the manifest is edited and synced again and again; ``restart``, each runtime is stopped
by SIGTERM and replaced; ``outage``, Postgres is stopped and started again. A turn that has begun ends whole,
whatever happens; a call whose server has left is dialled again.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp

from agentsd.core.names import derive_agent_id
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.conftest import FAST
from tests.e2e.balancer import Balancer
from tests.e2e.home import Home
from tests.e2e.processes import Process
from tests.runtime.world import new_keys
from tests.services.speech import silence, spoken
from tests.soak.call_audit import TURN_DONE, find_open, reports
from tests.soak.caller import Caller, calling
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.whisper_server import WhisperServer
from tests.web.voices import Talker, Vendors

CALLS = 20
RUNTIMES = 2
SWAPS = 5
OUTAGE_SECONDS = 6.0
TURN_SECONDS_MAX = 60.0
PATIENCE_SECONDS = 50
"""Time-outs of vendors, who do nothing wrong here: the machine may be busy."""
NETWORK_LIMITS = ("connect_timeout_seconds", "timeout_seconds", "idle_timeout_seconds")
TURN_LIMITS = ("first_token_seconds", "first_sound_seconds")
BETWEEN_SECONDS = 0.3
"""Silence of a caller between two turns, at most: some are thinking when the server stops."""
AGENT = "voice"
NAMES = ("swap", "restart", "outage")
ENV = {"AGENTSD_SHUTDOWN_GRACE": "1", "AGENTSD_RATE_LIMIT": "off", "AGENTSD_RATE_LIMIT_ADDRESS": "off"}


@dataclass
class Report:
    """What was seen of one form."""

    form: str
    turns: Counter[str] = field(default_factory=Counter)  # by their end
    versions: set[int] = field(default_factory=set)  # that answered
    dials: int = 0
    refused: int = 0  # dials that a server refused, because it was leaving
    untaken: int = 0  # requests that came too late for a server that was leaving
    cut: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """One line of the table."""
        ends = ", ".join(f"{name} {count}" for name, count in self.turns.most_common())
        return (
            f"{self.form:<8} {sum(self.turns.values()):>4} turns ({ends})  versions {len(self.versions)}  "
            f"dials {self.dials} (refused {self.refused})  too late {self.untaken}  cut {len(self.cut)}  "
            f"in {self.seconds:.0f} s"
        )


class Callers:
    """Callers who never tire, until ``enough``."""

    def __init__(self, url: str, report: Report) -> None:
        self.url, self.report = url, report
        self.enough = False

    async def work(self, number: int) -> None:
        """Call again and again."""
        rng = random.Random(number)
        async with aiohttp.ClientSession() as client:
            while not self.enough:
                try:
                    async with calling(client, self.url, AGENT) as caller:
                        self.report.dials += 1
                        await self._talk(caller, rng)
                        self._judge(number, caller)
                except aiohttp.ClientError:
                    self.report.refused += 1
                    await asyncio.sleep(0.05)

    async def _talk(self, caller: Caller, rng: random.Random) -> None:
        while not self.enough and not caller.closed:
            done = caller.count(TURN_DONE)
            if rng.random() < 0.5:
                await caller.write(f"Turn {done}.")
            else:
                await _speak(caller)
            if not await caller.until(lambda done=done: caller.count(TURN_DONE) > done, TURN_SECONDS_MAX):
                self.report.cut.append(f"no end within {TURN_SECONDS_MAX:.0f} s: {caller.events[-3:]}")
                return
            await asyncio.sleep(rng.uniform(0, BETWEEN_SECONDS))

    def _judge(self, number: int, caller: Caller) -> None:
        """Note how the turns of a call ended."""
        report = self.report
        for turn in reports(caller.events):
            report.turns[turn["reason"]] += 1
            if turn["agent_version"] is not None:
                report.versions.add(turn["agent_version"])
        started = {one["response_id"] for one in reports(caller.events)}
        for one in find_open(caller.events, caller.asked):
            if one.startswith("request"):
                report.untaken += 1
            else:
                report.cut.append(f"caller {number}: {one} was never told to be over")
        report.cut += [f"caller {number}: {one}" for one in _find_broken(caller, started)]


def _find_broken(caller: Caller, answers: set[str | None]) -> list[str]:
    """Return turns that ended badly, and answers that are not whole: the last word is the caller's."""
    broken = [
        f"{turn['reason']} ({turn['error']})"
        for turn in reports(caller.events)
        if turn["reason"] not in ("answered", "interrupted")
    ]
    for event in caller.events:
        if event["type"] == "response.done" and event["response"]["id"] in answers:
            text = "".join(
                one["delta"]
                for one in caller.events
                if one["type"] == "response.output_audio_transcript.delta"
                and one["response_id"] == event["response"]["id"]
            ).strip()
            if event["response"]["status"] != "completed" or not text.endswith("."):
                broken.append(f"{event['response']['status']}: {text!r}")
    return broken


async def _speak(caller: Caller) -> None:
    """A question at the pace of real speech, so that a server may stop in its midst."""
    sound, piece = silence(0.2) + spoken() + silence(0.8), 24_000 * 2 // 10
    for at in range(0, len(sound), piece):
        await caller.say(sound[at : at + piece])
        await asyncio.sleep(0.1)
        if caller.closed:
            return


@dataclass
class House:
    """Runtimes, their Postgres, and the manifests."""

    home: Home
    postgres: EmbeddedPostgres
    url: str
    vendors: Vendors
    balancer: Balancer
    runtimes: list[tuple[Process, str]] = field(default_factory=list)

    async def sync(self, model: str) -> None:
        """Change the agent."""
        patient: dict[str, Any] = json.loads(self.vendors.manifest(model, id=str(derive_agent_id(AGENT))))
        for kind in ("llm", "tts", "stt"):
            patient[kind] |= dict.fromkeys(NETWORK_LIMITS, PATIENCE_SECONDS)
        patient["turn"] = {"timeouts": dict.fromkeys(TURN_LIMITS, PATIENCE_SECONDS)}
        text = json.dumps(patient)
        self.home.write(f"{AGENT}.yaml", text)
        done = await self.home.run("sync", AGENTSD_DATABASE_URL=self.url)
        assert done.code == 0, done.said

    async def start(self) -> None:
        """Another runtime."""
        self.runtimes.append(await self.home.serve(self.url, "--log-level", "warning", **ENV))
        await self.balancer.add(self.runtimes[-1][1])


async def swap(house: House) -> None:
    """Edit the agent, and edit it again."""
    for number in range(SWAPS):
        await house.sync(f"model-{number}")
        await asyncio.sleep(0.5)


async def restart(house: House) -> None:
    """Replace each runtime."""
    for _ in range(RUNTIMES):
        await house.start()
        old, url = house.runtimes.pop(0)
        done = await old.stop(signal.SIGTERM)
        assert (done.code, "Traceback" in done.err) == (0, False), done.err
        del house.balancer.backends[url]


async def outage(house: House) -> None:
    """Take Postgres away, and give it back; afterwards a change is served."""
    await asyncio.to_thread(house.postgres.stop)
    await asyncio.sleep(OUTAGE_SECONDS)
    await asyncio.to_thread(house.postgres.start)
    await house.sync("after-the-outage")
    await asyncio.sleep(3)


FORMS: dict[str, Callable[[House], Awaitable[None]]] = {"swap": swap, "restart": restart, "outage": outage}


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    """All of it, at work."""
    home = Home(Path(mkdtemp(prefix="agentsd-calls-")), new_keys())
    postgres = EmbeddedPostgres(home.root / "own", settings=FAST)
    try:
        async with AsyncExitStack() as exits:
            llm = await exits.enter_async_context(Talker(delay=0.02))
            tts = await exits.enter_async_context(KokoroServer())
            stt = await exits.enter_async_context(WhisperServer())
            for server in (llm, tts, stt):
                server.record = False
            balancer = await exits.enter_async_context(Balancer())
            url = await asyncio.to_thread(postgres.start)
            await asyncio.to_thread(upgrade_schema, url)
            house = House(home, postgres, url, Vendors(llm, tts, stt), balancer)
            await house.sync("model")
            for _ in range(RUNTIMES):
                await house.start()
            yield house
    finally:
        await home.clear()
        await asyncio.to_thread(postgres.stop)


async def run(form: str, house: House, calls: int = CALLS) -> Report:
    """Go through one form under so many calls; return what was seen."""
    report, began = Report(form), time.monotonic()
    callers = Callers(house.balancer.url, report)
    async with asyncio.TaskGroup() as tasks:
        for number in range(calls):
            tasks.create_task(callers.work(number))
        await asyncio.sleep(2)
        await FORMS[form](house)
        await asyncio.sleep(2)
        callers.enough = True
    report.seconds = time.monotonic() - began
    return report


async def main(arguments: Sequence[str]) -> int:
    """Print the table; return 0 where no turn was cut."""
    calls = int(arguments[0]) if arguments else CALLS
    cut = 0
    async with open_house() as house:
        for form in NAMES:
            report = await run(form, house, calls)
            print(report.line(), flush=True)
            for one in report.cut[:10]:
                print(f"  {one}")
            cut += len(report.cut)
    return 1 if cut else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
