"""The owner that is not to be hurt, in a process of its own: its vendor, and clients that measure its chat.

``python -m tests.soak.acme`` writes its vendor's URL, then reads lines of ``{"url", "seconds"}`` and answers
each with a sample of that server's answers. What the attack costs the attackers is not measured with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import aiohttp

from tests.vendors.openai_server import OpenAIServer

TOKEN = "agentsd_acme-token"
REPLY = "This is a test."
CLIENTS = 2
PAUSE_SECONDS = 0.02
"""Between two questions of one client."""


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


async def ask(session: aiohttp.ClientSession, url: str, model: str, token: str) -> tuple[int, str, float]:
    """One chat: status, text, seconds."""
    began = time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as reply:
        text = await reply.text()
        return reply.status, text, time.perf_counter() - began


async def measure(url: str, seconds: float) -> Sample:
    """Ask acme's agent for so long, as some clients do."""
    sample = Sample()
    ends = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(_client(url, session, ends, sample))
    return sample


async def _client(url: str, session: aiohttp.ClientSession, ends: float, sample: Sample) -> None:
    while time.monotonic() < ends:
        try:
            status, text, took = await ask(session, url, "acme/good", TOKEN)
        except (aiohttp.ClientError, TimeoutError) as error:
            sample.failures.append(type(error).__name__)
            await asyncio.sleep(1)
        else:
            if status == 200 and REPLY in text:
                sample.seconds.append(took)
            else:
                sample.failures.append(str(status))
        await asyncio.sleep(PAUSE_SECONDS)


class Measurer:
    """The process, from the other side."""

    def __init__(self, child: asyncio.subprocess.Process, vendor_url: str) -> None:
        self._child = child
        self.vendor_url = vendor_url

    async def measure(self, url: str, seconds: float) -> Sample:
        """Have the server at ``url`` asked for so long."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps({"url": url, "seconds": seconds}).encode() + b"\n")
        return Sample(**json.loads(await self._child.stdout.readline()))


@asynccontextmanager
async def measurer() -> AsyncIterator[Measurer]:
    """One at work."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.soak.acme")
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=64 << 20)
    assert child.stdout
    try:
        yield Measurer(child, (await child.stdout.readline()).decode().strip())
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def main() -> None:
    """Serve and measure until the input ends."""
    async with OpenAIServer(record=False) as vendor:
        print(vendor.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            print(json.dumps(asdict(await measure(order["url"], order["seconds"]))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
