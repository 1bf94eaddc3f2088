"""Two owners, one of them hostile: ``python -m tests.soak.hostile --minutes 10``.

Beta's editor does everything that an editor may do, with a hostile vendor behind beta's agents, while
acme's agents answer chat. Prints the p50 and p99 of acme's chat, quiet and under attack (goal: p99 at most
twice), and its failures (goal: none).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from random import Random

import aiohttp

from tests.soak.acme import Sample
from tests.soak.inputs import INPUTS, Bench, Hurt
from tests.soak.site import Site, site
from tests.stall_meter import worst

KINDS = ("api", "markdown", "vendor", "realtime", "manifest", "document", "indexing")
"""What an editor can do through the API, and what the manifests and documents that it writes can do."""
ATTACKERS = 4
QUIET_SECONDS = 30.0
GOAL = 2.0


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
    async with site() as (made, acme), aiohttp.ClientSession(timeout=timeout) as session:
        os.nice(10)  # attackers are elsewhere: here they are not to take the processors from what is measured
        await acme.measure(made.url, 2)  # warm
        quiet = await acme.measure(made.url, quiet_seconds)
        began, before = time.time(), made.memory()
        counts: dict[str, int] = {}
        attackers = [
            asyncio.create_task(attack(made, session, seed + number, counts)) for number in range(ATTACKERS)
        ]
        attacked = await acme.measure(made.url, seconds)
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
