"""Calls with random faults of vendors, sockets and callers: ``python -m tests.soak.calls [calls] [seed]``.

One replica with real sockets; lanes of calls side by side, each with vendors' servers of its own. What a call
does follows from the seed and its number; ``--only NUMBER`` repeats one. No turn may end in silence (see
``call_audit``), and when all are over no task, socket, lease or megabyte of them is left.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyrage import x25519

from agentsd.control.writeback.delivery import GitOptions
from agentsd.providers.catalog import default_catalog
from agentsd.store.database import Database
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from agentsd.web.middleware.auth import AccessPolicy
from agentsd.web.middleware.policies import Policies
from agentsd.web.server.connection_limits import ConnectionLimits
from tests.conftest import FAST
from tests.soak.call_audit import describe, reports
from tests.soak.call_script import Lane, Outcome, Script, Voice
from tests.soak.caller import calling
from tests.vendors.whisper_server import WhisperServer
from tests.web.conftest import Keys, Stack, _stack
from tests.web.voices import Talker, Vendors, running

CALLS = 200
LANES = 8
SEED = 13
WARM = 0.25
"""Part of the calls after which memory may not grow."""
GROWTH_MB_MAX = 12.0
SOCKETS_MORE_MAX = 4
LEAVE_SECONDS = 75.0
"""Within which everything of a call is gone. A vendor that refused a socket is left on a connection that the
pool keeps for 30 s, and looks at as often."""
TRAIL = 40
"""Types of events that are shown of a call that went wrong."""


class Soak:
    """A replica, its lanes, and what became of their calls."""

    def __init__(self, stack: Stack, seed: int, *, quick: bool = False) -> None:
        self.stack, self.seed, self.quick = stack, seed, quick
        self.lanes: list[Lane] = []
        self.outcomes: list[Outcome] = []

    @asynccontextmanager
    async def at_work(self, lanes: int) -> AsyncIterator[None]:
        """Vendors and agents of so many lanes, served."""
        async with AsyncExitStack() as exits:
            for number in range(lanes):
                llm = await exits.enter_async_context(Talker())
                tts = await exits.enter_async_context(Voice())
                stt = await exits.enter_async_context(WhisperServer())
                self._add(number, Vendors(llm, tts, stt))
            await self.stack.sync()
            yield

    def _add(self, number: int, vendors: Vendors) -> None:
        lane = Lane(f"lane{number}", vendors, apologises=number % 2 == 0, quick=self.quick)
        extra: dict[str, Any] = {"turn": {"timeouts": {"first_token_seconds": 1, "first_sound_seconds": 1}}}
        if lane.apologises:
            extra["on_error"] = {"say": "Sorry, could you say that again?", "then": "continue"}
        if number % 3 == 0:
            extra["greeting"] = "Hello, how can I help?"
        if number % 4 == 3:
            extra["turn"]["idle"] = {"after_seconds": 1, "say": "Are you still there?", "times": 1}
        if number % 4 == 1:
            llm = {
                "provider": "openai-compatible",
                "model": "m",
                "api_url": vendors.llm.url,
                "timeout_seconds": 1,
            }
            extra["llm"] = llm | {"idle_timeout_seconds": 1, "fallback": [{"provider": "echo.local"}]}
        self.stack.write(f"{lane.name}.yaml", vendors.manifest(lane.name, **extra))
        self.lanes.append(lane)

    async def run(self, numbers: range) -> None:
        """Make these calls."""
        numbering = iter(numbers)

        async def work(lane: Lane) -> None:
            for number in numbering:
                self.outcomes.append(await self._call(lane, number))

        async with asyncio.TaskGroup() as tasks:
            for lane in self.lanes:
                tasks.create_task(work(lane))

    async def _call(self, lane: Lane, number: int) -> Outcome:
        outcome, rng = Outcome(number), random.Random(f"{self.seed}-{number}")
        lane.mend()
        try:
            async with calling(self.stack.client, self.stack.url, lane.name) as caller:
                await Script(caller, lane, rng, outcome).run()
            outcome.reasons = [turn["reason"] for turn in reports(caller.events)]
            outcome.trail = describe(caller.events)[-TRAIL:] if outcome.faults else []
        except Exception:
            outcome.faults.append(traceback.format_exc(limit=-3))
        for server in (lane.vendors.llm, lane.vendors.tts, lane.vendors.stt):
            server.requests.clear()
        return outcome

    async def find_leaks(self) -> list[str]:
        """Return what calls have left, once that had time to go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                while self._left():
                    await asyncio.sleep(0.05)
        return self._left()

    def _left(self) -> list[str]:
        value = self.stack.metrics.registry.get_sample_value
        leases, calls = value("agentsd_leases_in_use") or 0, value("agentsd_calls") or 0
        held = [
            f"{server.open_connections} sockets of {type(server).__name__} of {lane.name}"
            for lane in self.lanes
            for server in (lane.vendors.tts, lane.vendors.stt)
            if server.open_connections
        ]
        left = [f"{leases:.0f} leases"] if leases else []
        left += [f"{calls:.0f} calls"] if calls else []
        return left + ([] if self.quick else held) + [f"task {name}" for name in running()]


@dataclass(frozen=True)
class Resources:
    """What this process has: files and sockets, and resident megabytes."""

    descriptors: int
    megabytes: float

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors and {self.megabytes:.0f} MB"

    @classmethod
    def measure(cls) -> Resources:
        """Return what it has now."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return cls(len(list(Path("/proc/self/fd").iterdir())), megabytes)

    def compare(self, before: Resources) -> list[str]:
        """Return what it has more than it may."""
        more = []
        if self.descriptors > before.descriptors + SOCKETS_MORE_MAX:
            more.append(f"{self.descriptors - before.descriptors} descriptors")
        if self.megabytes > before.megabytes + GROWTH_MB_MAX:
            more.append(f"{self.megabytes - before.megabytes:.0f} MB")
        return more


@asynccontextmanager
async def replica() -> AsyncIterator[Stack]:
    """A replica of its own, on a Postgres of its own."""
    with TemporaryDirectory(prefix="agentsd-calls-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", settings=FAST)
        url = await asyncio.to_thread(server.start)
        try:
            await asyncio.to_thread(upgrade_schema, url)
            database = Database(url)
            identity = x25519.Identity.generate()
            keys = Keys(str(identity), str(identity.to_public()))
            border = (AccessPolicy(), Policies(), ConnectionLimits())
            async with _stack(
                database,
                Path(folder),
                keys,
                default_catalog(),
                border,
                ("off", GitOptions()),
                (None, None),
                follow=True,
                drain=5.0,
                fallback=None,
                limits={},
            ) as stack:
                yield stack
            await database.aclose()
        finally:
            await asyncio.to_thread(server.stop)


async def soak(calls: int, seed: int, lanes: int = LANES) -> bool:
    """Run, print the table, and return whether nothing was wrong."""
    async with replica() as stack:
        running_soak = Soak(stack, seed)
        async with running_soak.at_work(lanes):
            warm = max(1, int(calls * WARM))
            await running_soak.run(range(warm))
            leaks = await running_soak.find_leaks()
            before = Resources.measure()
            await running_soak.run(range(warm, calls))
            leaks += await running_soak.find_leaks()
            after = Resources.measure()
        leaks += after.compare(before)
        show(running_soak.outcomes, leaks)
        print(f"after {warm} calls {before}; after {calls} calls {after}")
        return not leaks and not any(one.faults for one in running_soak.outcomes)


def show(outcomes: list[Outcome], leaks: list[str]) -> None:
    """Print what became of the calls."""
    reasons = Counter(reason for one in outcomes for reason in one.reasons)
    ends = Counter(one.did[-1] for one in outcomes if one.did and one.did[-1].startswith("then "))
    broken = Counter(
        part
        for one in outcomes
        for act in one.did
        if "[" in act
        for part in act.partition("[")[2].rstrip("]").split(", ")
    )
    print(f"{len(outcomes)} calls, {sum(reasons.values())} turns")
    for title, counts in {"turns ended": reasons, "vendors were": broken, "callers": ends}.items():
        print(f"{title:<14}", ", ".join(f"{name} {n}" for name, n in counts.most_common()))
    wrong = [one for one in outcomes if one.faults]
    print(f"calls with a turn in silence: {len(wrong)}")
    for one in wrong:
        print(f"  call {one.number}: {one.did}\n    {'; '.join(one.trail)}")
        for fault in one.faults:
            print(f"    {fault}")
    print("left behind:", ", ".join(leaks) or "nothing")


async def repeat(number: int, seed: int) -> bool:
    """Run one call again, in a lane like the one that it may have had; all lanes are tried."""
    async with replica() as stack:
        one = Soak(stack, seed)
        async with one.at_work(LANES):
            for lane in one.lanes:
                one.outcomes.append(await one._call(lane, number))
        show(one.outcomes, await one.find_leaks())
        return not any(outcome.faults for outcome in one.outcomes)


def main(arguments: list[str]) -> int:
    """Read the arguments; return 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=int, nargs="?", default=CALLS)
    parser.add_argument("seed", type=int, nargs="?", default=SEED)
    parser.add_argument("--only", type=int, default=None, help="the number of one call")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # of vendors that break and of the agents that notice
    if options.only is not None:
        return 0 if asyncio.run(repeat(options.only, options.seed)) else 1
    return 0 if asyncio.run(soak(options.calls, options.seed)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
