"""The fuzz harness: ``python -m tests.soak.fuzz --minutes 10``.

Each input is made from (seed, kind, number) alone; ``--seed S --only KIND --first N --count 1`` repeats it.
Meanwhile, every second: the process lives, the other owner's agent answers right, /readyz is right.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp

from tests.soak.acme import REPLY, TOKEN, ask
from tests.soak.inputs import INPUTS, Bench, Hurt
from tests.soak.site import CANARY, MEMORY_MAX_BYTES, Site, site
from tests.stall_meter import Stall, worst

CHECK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""So long may the other owner's answer take, three times as long an edit of its own, eight times an input."""
FROZEN_SECONDS = 20.0
"""A server that answers nobody for so long is ended and started anew."""
GOAL_SECONDS = 0.05
GROWTH_BYTES = 150 << 20
"""What may stay: caches, arenas, interpreters' odds and ends."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be, and the input that was under way."""

    kind: str
    number: int
    what: str


@dataclass
class Result:
    """What came of a run."""

    seed: int
    tried: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    stalls: dict[str, tuple[Stall, int]] = field(default_factory=dict)  # by kind: the worst, and its number
    checks: int = 0
    hurt: int = 0  # checks that failed: the other owner, /readyz
    ends: int = 0
    memory: tuple[int, int, int] = (0, 0, 0)  # before, at most, after

    def lines(self) -> list[str]:
        """The report."""
        before, most, after = (size >> 20 for size in self.memory)
        text = [
            f"seed {self.seed}: {self.tried.total()} inputs, {self.ends} process ends, "
            f"{self.hurt} of {self.checks} checks of the other owner and /readyz failed",
            f"memory: {before} MiB before, {most} at most, {after} after",
            f"{'kind':<10} {'inputs':>7} {'worst stall ms':>15} {'cpu ms':>8}  of input, "
            f"goal {GOAL_SECONDS * 1e3:.0f} ms",
        ]
        for kind, count in sorted(self.tried.items()):
            stall, number = self.stalls.get(kind, (Stall(), 0))
            text.append(f"{kind:<10} {count:>7} {stall.wall * 1e3:>15.0f} {stall.cpu * 1e3:>8.0f}  {number}")
        said: Counter[tuple[str, str]] = Counter((one.kind, one.what) for one in self.findings)
        for (kind, what), count in said.most_common():
            first = next(one for one in self.findings if (one.kind, one.what) == (kind, what))
            text.append(f"FINDING {kind} ×{count}: {what}")
            text.append(f"    again: --seed {self.seed} --only {kind} --first {first.number} --count 1")
        return text


class Fuzzer:
    """One run over one site."""

    def __init__(
        self,
        made: Site,
        session: aiohttp.ClientSession,
        seed: int,
        keep: Path | None,
        *,
        answer_seconds: float,
    ) -> None:
        self._site = made
        self._answer_seconds = answer_seconds
        self._bench = Bench(made, session, settle_seconds=answer_seconds * 3)
        self._keep = keep
        self._now = ("start", 0)
        self._failing = 0.0  # seconds for which nobody was answered
        self._frozen = asyncio.Event()
        self._scanned = 0
        self.result = Result(seed)

    async def run(self, kinds: Sequence[str], *, first: int, count: int | None, seconds: float) -> Result:
        """Send inputs of ``kinds`` in turn, ``count`` of each or for so long."""
        await self._bench.settled()
        before = self._site.memory()
        self.result.memory = (before, before, before)
        watch = asyncio.create_task(self._watch())
        ends, number = time.monotonic() + seconds, first
        try:
            while time.monotonic() < ends and (count is None or number < first + count):
                for kind in kinds:
                    if time.monotonic() < ends:
                        await self._input(kind, number)
                number += 1
        finally:
            watch.cancel()
            await asyncio.wait({watch})
        await self._finish()
        return self.result

    async def _input(self, kind: str, number: int) -> None:
        self._now = (kind, number)
        self._bench.sent.clear()
        self._frozen.clear()
        random, began = Random(f"{self.result.seed}:{kind}:{number}"), time.time()
        doing = asyncio.create_task(self._do(kind, random))
        frozen = asyncio.create_task(self._frozen.wait())
        await asyncio.wait(
            {doing, frozen}, timeout=self._answer_seconds * 8, return_when=asyncio.FIRST_COMPLETED
        )
        if not doing.done():
            self._find(
                "the server stands still"
                if frozen.done()
                else f"not over after {self._answer_seconds * 8:.0f} s"
            )
        for task in (doing, frozen):
            task.cancel()
        await asyncio.wait({doing, frozen})
        self.result.tried[kind] += 1
        self._note_stall(kind, number, began)
        self._scan()
        if not self._site.process.running or self._frozen.is_set():
            await self._again()

    async def _do(self, kind: str, random: Random) -> None:
        try:
            await INPUTS[kind](self._bench, random)
        except Hurt as hurt:
            self._find(str(hurt))
            with suppress(Hurt, aiohttp.ClientError):  # what it began ends before the next one is blamed
                await self._bench.settled()
        except (aiohttp.ClientError, OSError) as error:
            await self._ending(error)

    async def _ending(self, error: Exception) -> None:
        """Wait for the end of a process that no longer listens; it may take a moment to let go of all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FROZEN_SECONDS):
                while self._site.process.running and not await self._listens():
                    await asyncio.sleep(0.2)
                if self._site.process.running:
                    self._find(f"a connection was lost: {type(error).__name__}")
                return
        self._frozen.set()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(self._site.url.rpartition(":")[2]))
        except OSError:
            return False
        writer.close()
        return True

    def _note_stall(self, kind: str, number: int, began: float) -> None:
        stall = worst(self._site.stalls, began, time.time() + 0.1)
        if stall.wall > self.result.stalls.get(kind, (Stall(), 0))[0].wall:
            self.result.stalls[kind] = (stall, number)

    def _scan(self) -> None:
        """Look through what the process wrote since."""
        said = self._site.process.err
        fresh, self._scanned = said[self._scanned :], len(said)
        if CANARY in fresh:
            self._find("the key of the vendor is in the log")
        if "Traceback" in fresh:
            self._find(
                "a traceback in the log: " + fresh[fresh.index("Traceback") :].strip().splitlines()[-1][:150]
            )
        if "bug in agentsd" in fresh:
            self._find("the log says: " + fresh[fresh.index("this is a bug") :].splitlines()[0][:150])

    async def _again(self) -> None:
        if not self._site.process.running:
            said = [line for line in self._site.process.err.splitlines() if "error" in line]
            self._find(f"the process ended: {said[-1][:200] if said else ''}")
        await self._site.restart()
        self._scanned, self._failing = 0, 0.0
        try:
            await self._bench.settled()
        except Hurt as hurt:
            self._find(f"after the start: {hurt}")

    def _find(self, what: str) -> None:
        kind, number = self._now
        self.result.findings.append(Finding(kind, number, what))
        print(f"FINDING {kind} {number}: {what}", flush=True)
        if self._keep:
            self._keep.mkdir(parents=True, exist_ok=True)
            file = self._keep / f"{self.result.seed}-{kind}-{number}.bin"
            file.write_bytes(
                what.encode("utf-8", "replace") + b"\n" + b"\n".join(self._bench.sent)[: 4 << 20]
            )

    async def _watch(self) -> None:
        """Check what must hold, every second."""
        timeout = aiohttp.ClientTimeout(total=self._answer_seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                problem = await self._check(session)
                self.result.checks += 1
                self._failing = self._failing + CHECK_SECONDS if problem else 0.0
                if problem:
                    self.result.hurt += 1
                if problem and self._site.process.running and self._failing <= CHECK_SECONDS:
                    self._find(problem)
                before, most, after = self.result.memory
                size = self._site.memory()
                self.result.memory = (before, max(most, size), after)
                if size > MEMORY_MAX_BYTES:
                    self._find(f"more than {MEMORY_MAX_BYTES >> 30} GiB of memory")
                if size > MEMORY_MAX_BYTES or self._failing * self._answer_seconds > FROZEN_SECONDS:
                    self._failing = 0.0
                    self._frozen.set()
                await asyncio.sleep(CHECK_SECONDS)

    async def _check(self, session: aiohttp.ClientSession) -> str:
        try:
            status, text, _ = await ask(session, self._site.url, "acme/good", TOKEN)
            if status != 200 or REPLY not in text:
                return f"the other owner's agent answers {status}"
            async with session.get(f"{self._site.url}/readyz") as reply:
                if reply.status != 200:
                    return f"/readyz answers {reply.status}"
        except TimeoutError:
            return f"the other owner had no answer in {self._answer_seconds:.0f} s"
        except aiohttp.ClientError as error:
            return f"the other owner had no answer: {type(error).__name__}"
        return ""

    async def _finish(self) -> None:
        """Take the hostile files away, and see whether memory returns."""
        self._now = ("end", 0)
        self._site.seed_vendors(None)
        self._site.fill()
        with suppress(Hurt):
            await self._bench.settled()
        await asyncio.sleep(3)
        before, most, _ = self.result.memory
        after = self._site.memory()
        self.result.memory = (before, most, after)
        self.result.ends = self._site.ends
        if after - before > GROWTH_BYTES:
            self._find(f"memory stays {after - before >> 20} MiB above the start")


async def fuzz(
    seed: int,
    kinds: Sequence[str] = tuple(INPUTS),
    *,
    first: int = 0,
    count: int | None = None,
    seconds: float = 600,
    keep: Path | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Result:
    """Run the harness against a server of its own."""
    timeout = aiohttp.ClientTimeout(total=answer_seconds * 8)
    async with site() as (made, _), aiohttp.ClientSession(timeout=timeout) as session:
        fuzzer = Fuzzer(made, session, seed, keep, answer_seconds=answer_seconds)
        return await fuzzer.run(kinds, first=first, count=count, seconds=seconds)


def main() -> None:
    """Run it from the command line; the exit status says whether something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", choices=list(INPUTS), default=list(INPUTS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, help="of each kind")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that found something")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    seconds = given.minutes * 60
    result = asyncio.run(
        fuzz(given.seed, given.only, first=given.first, count=given.count, seconds=seconds, keep=given.keep)
    )
    print("\n".join(result.lines()))
    sys.exit(bool(result.findings))


if __name__ == "__main__":
    main()
