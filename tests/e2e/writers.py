"""Many who edit the same agents at once, through the API and on disk, while the server is killed."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.home import Home
from tests.e2e.processes import Process, until

Token = str
_GIT = ("git", "-c", "user.name=Disk", "-c", "user.email=disk@example.org")


@dataclass
class Tally:
    """What was promised, by agent: tokens whose write was acknowledged, and what came of the others."""

    kept: dict[str, set[Token]] = field(default_factory=lambda: defaultdict(set))  # appended with If-Match
    blind: dict[str, set[Token]] = field(default_factory=lambda: defaultdict(set))  # set without looking
    disk: dict[str, set[Token]] = field(default_factory=lambda: defaultdict(set))  # written by the scripts
    statuses: Counter[int | str] = field(default_factory=Counter)


class Crowd:
    """Writers on the agents ``slugs``; those of ``wild`` are also edited by a script that takes no lock."""

    def __init__(self, home: Home, url: str, slugs: list[str], *, git: bool) -> None:
        self.tally = Tally()
        self._home = home
        self._url = url
        self._slugs = slugs
        self._calm, self._wild = slugs[: len(slugs) // 2], slugs[len(slugs) // 2 :]
        self._git = git
        self._tokens = (f"t{number}" for number in itertools.count())
        self._chance = random.Random(3)
        self._over = False

    async def write(self, writers: int, seconds: float) -> None:
        """Everybody at work for so long; what is under way then is waited for."""
        timeout = aiohttp.ClientTimeout(total=60)
        connector = aiohttp.TCPConnector(limit=writers)
        async with aiohttp.ClientSession(self._url, timeout=timeout, connector=connector) as client:
            kinds = (self._careful, self._careful, self._blind, self._put)
            tasks = [asyncio.create_task(self._again(kinds[i % 4], client)) for i in range(writers)]
            tasks += [asyncio.create_task(asyncio.to_thread(self._script, calm)) for calm in (True, False)]
            await asyncio.sleep(seconds)
            await until(self._something_kept)  # a busy machine may need longer
            self._over = True
            await asyncio.gather(*tasks)

    async def _something_kept(self) -> bool:
        return any(self.tally.kept.values())

    async def _again(self, edit: Any, client: aiohttp.ClientSession) -> None:
        while not self._over:
            try:
                await edit(client)
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                self.tally.statuses[type(error).__name__] += 1
                await asyncio.sleep(0.1)  # it was killed: it comes back

    async def _careful(self, client: aiohttp.ClientSession) -> None:
        """Append a token to what was read, if nobody was quicker."""
        slug, token = self._chance.choice(self._calm), next(self._tokens)
        agent, etag = await self._read(client, slug)
        body: dict[str, Any] = {"greeting": f"{agent['greeting']} {token}"}
        if self._chance.random() < 0.2:
            body["llm_provider_config"] = {"api_key": f"sk-{token}"}
        status = await self._send(client, "PATCH", slug, body, {"If-Match": etag})
        if status == 200:
            self.tally.kept[slug].add(token)

    async def _put(self, client: aiohttp.ClientSession) -> None:
        """The same with everything that was read sent back."""
        slug, token = self._chance.choice(self._calm), next(self._tokens)
        agent, etag = await self._read(client, slug)
        body = agent | {"greeting": f"{agent['greeting']} {token}"}
        status = await self._send(client, "PUT", slug, body, {"If-Match": etag})
        if status == 200:
            self.tally.kept[slug].add(token)

    async def _blind(self, client: aiohttp.ClientSession) -> None:
        """Set a field without looking, or move the default."""
        slug, token = self._chance.choice(self._slugs), next(self._tokens)
        if self._chance.random() < 0.1:
            async with client.post(f"/api/agents/{slug}/set-default") as reply:
                self.tally.statuses[reply.status] += 1
            return
        self.tally.blind[slug].add(token)
        await self._send(client, "PATCH", slug, {"description": token}, {})

    async def _read(self, client: aiohttp.ClientSession, slug: str) -> tuple[dict[str, Any], str]:
        async with client.get(f"/api/agents/{slug}") as reply:
            if reply.status != 200:
                raise ConnectionError("not up again yet")
            return await reply.json(), reply.headers["ETag"]

    async def _send(
        self, client: aiohttp.ClientSession, method: str, slug: str, body: Any, headers: dict[str, str]
    ) -> int:
        async with client.request(method, f"/api/agents/{slug}", json=body, headers=headers) as reply:
            await reply.read()
            self.tally.statuses[reply.status] += 1
            return reply.status

    def _script(self, calm: bool) -> None:
        """Somebody with an editor: with the folder's lock where others rely on it, else just so."""
        chance, pause = random.Random(calm), 0.3 if calm else 0.2
        tokens = (f"d{'c' if calm else 'w'}{number}" for number in itertools.count())
        while not self._over:
            slug, token = chance.choice(self._calm if calm else self._wild), next(tokens)
            file = self._home.agents / f"{slug}.yaml"
            with self._lock() if calm else _nothing():
                temporary = file.with_name(f".disk-{token}")
                temporary.write_text(f"# disk {token}\n{file.read_text()}")
                temporary.replace(file)
                if self._git:
                    self._commit(file)
            self.tally.disk[slug].add(token)
            subprocess.run(["sleep", str(pause)], check=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """As ``flock agents.d COMMAND`` does."""
        descriptor = os.open(self._home.agents, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _commit(self, file: Path) -> None:
        """git, again while another git is at work."""
        command = (*_GIT, "commit", "-q", "-m", "by hand", "--", str(file))
        for _ in range(400):
            if subprocess.run(command, cwd=self._home.repo, capture_output=True, check=False).returncode == 0:
                return
            clean = ("git", "diff", "--quiet", "HEAD", "--", str(file))
            if subprocess.run(clean, cwd=self._home.repo, check=False).returncode == 0:
                return  # an edit through the API took it along
            subprocess.run(["sleep", "0.05"], check=True)
        raise AssertionError("git does not let go")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


async def killing(
    home: Home, command: list[str], first: Process, url: str, *, every: float, seconds: float
) -> Process:
    """Kill -9 every so often, and start again; cancelled, it waits until the server is up.

    After ``seconds`` it kills no more: on a busy machine nothing would be kept between two kills.
    """
    process, over = first, asyncio.get_running_loop().time() + seconds
    try:
        while True:
            await asyncio.sleep(every)
            if asyncio.get_running_loop().time() > over:
                await asyncio.Event().wait()
            await process.kill()
            process = await home.start(*command)
            await process.url()
    except asyncio.CancelledError:
        if process.running:
            await until(lambda: _answers(url))
        else:
            process = await home.start(*command)
            await process.url()
        return process


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/readyz") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False
