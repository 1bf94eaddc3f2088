"""Two owners, one of them hostile: ``python -m tests.soak.hostile --minutes 10``.

Beta's editor does everything that an editor may do, with a hostile vendor behind beta's agents, while
acme's agents answer chat. Prints the p50 and p99 of acme's chat, quiet and under attack (goal: p99 at most
twice), and its failures (goal: none).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from random import Random

import aiohttp

from tests.soak.inputs import INPUTS, Bench, Hurt
from tests.soak.site import ACME, REPLY, Site, ask, site
from tests.stall_meter import worst

KINDS = ("api", "markdown", "vendor", "realtime", "manifest", "document", "indexing")
"""What an editor can do through the API, and what the manifests and documents that it writes can do."""
ATTACKERS = 4
QUIET_SECONDS = 30.0
PAUSE_SECONDS = 0.02
"""Between two questions of one of acme's clients."""
CLIENTS = 2
GOAL = 2.0


@dataclass
class Sample:
    """Acme's chat over some time."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def at(self, share: float) -> float:
        """A quantile, in milliseconds."""
        ordered = sorted(self.seconds) or [0.0]
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3

    def line(self, title: str) -> str:
        """One line of the report."""
        return (
            f"{title:<13} {len(self.seconds):>7} answers  p50 {self.at(0.5):7.1f} ms  "
            f"p99 {self.at(0.99):7.1f} ms  max {self.at(1.0):7.1f} ms  failures {len(self.failures)}"
        )


async def measure(made: Site, seconds: float) -> Sample:
    """Ask acme's agent for so long, as some clients do."""
    sample = Sample()
    ends = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(_client(made, session, ends, sample))
    return sample


async def _client(made: Site, session: aiohttp.ClientSession, ends: float, sample: Sample) -> None:
    while time.monotonic() < ends:
        try:
            status, text, took = await ask(session, made, "acme/good", ACME)
        except (aiohttp.ClientError, TimeoutError) as error:
            sample.failures.append(type(error).__name__)
            await asyncio.sleep(1)
        else:
            if status == 200 and REPLY in text:
                sample.seconds.append(took)
            else:
                sample.failures.append(str(status))
        await asyncio.sleep(PAUSE_SECONDS)


async def attack(made: Site, session: aiohttp.ClientSession, seed: int, counts: dict[str, int]) -> None:
    """Send one hostile input after the other, for ever."""
    bench, random = Bench(made, session, mark=f"mark{seed}"), Random(seed)
    while True:
        kind = random.choice(KINDS)
        try:
            async with asyncio.timeout(30):
                await INPUTS[kind](bench, random)
        except Hurt as hurt:
            counts[str(hurt)[:100]] = counts.get(str(hurt)[:100], 0) + 1
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        counts[kind] = counts.get(kind, 0) + 1
        bench.sent.clear()
        if not made.process.running:
            await asyncio.sleep(1)


async def run(seed: int, seconds: float, quiet_seconds: float = QUIET_SECONDS) -> tuple[Sample, Sample, int]:
    """Measure quiet, then under attack; returns both, and how often the process ended."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with site() as made, aiohttp.ClientSession(timeout=timeout) as session:
        await measure(made, 2)  # warm
        quiet = await measure(made, quiet_seconds)
        began, before = time.time(), made.memory()
        counts: dict[str, int] = {}
        attackers = [
            asyncio.create_task(attack(made, session, seed + number, counts)) for number in range(ATTACKERS)
        ]
        attacked = await measure(made, seconds)
        for one in attackers:
            one.cancel()
        await asyncio.wait(attackers)
        stall = worst(made.stalls, began)
        print("attacks:", ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
        print(f"longest stall of the loop: {stall.wall * 1e3:.0f} ms, {stall.cpu * 1e3:.0f} ms of CPU")
        print(f"memory: {before >> 20} MiB before, {made.memory() >> 20} MiB after")
        return quiet, attacked, int(not made.process.running)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    quiet, attacked, ends = asyncio.run(run(given.seed, given.minutes * 60))
    print(quiet.line("quiet"))
    print(attacked.line("under attack"))
    ratio = attacked.at(0.99) / (quiet.at(0.99) or 1.0)
    print(f"p99 {ratio:.1f} × the quiet one (goal ≤ {GOAL:.0f}), process ends {ends}")
    if attacked.failures:
        print("failures:", ", ".join(sorted(set(attacked.failures))))
    sys.exit(bool(attacked.failures or ends))


if __name__ == "__main__":
    main()
