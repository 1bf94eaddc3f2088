"""Switch-overs of Postgres under load: ``python -m tests.soak.switch_over``.

A real ``agentsd up`` answers chats all the time, and a file is edited several times a second. Two forms:
``fenced``, one server that refuses writes for a while (sessions ended, then allowed again); ``promoted``,
a standby that takes over while the old primary stays up, read-only, named first in the URL, and keeps its
sessions. The table holds when edits were live again, and every wrong word of `/readyz` and `/api/sync`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import psycopg

from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.databases import FAST
from tests.e2e.client import Broken, Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import until
from tests.runtime.world import new_keys
from tests.store.test_writability import fence, promote, servers, unfence

CLIENTS = 4
PAUSE_SECONDS = 0.02
EDIT_SECONDS = 0.2
LOOK_SECONDS = 0.05
READ_ONLY_SECONDS = 10.0
AFTER_SECONDS = 3.0
NAMES = ("fenced", "promoted")


@dataclass
class Report:
    """What was seen of one switch-over. Seconds are counted from the moment that writes are taken again."""

    form: str
    chats: int = 0
    failures: list[str] = field(default_factory=list)  # of chats
    noticed_seconds: float = float("nan")  # from the fence to the first word of it
    live_seconds: float = float("nan")  # until an edit that was made meanwhile is served
    next_seconds: float = float("nan")  # until one that is made afterwards is served, from that edit
    ok_seconds: float = float("nan")  # until /readyz and /api/sync take it back
    wrong: list[str] = field(default_factory=list)  # not ready, or another word than the truth
    looks: int = 0
    status: tuple[bool, bool] = (False, True)  # of ``agentsd status``: while it lasts, and afterwards

    def line(self) -> str:
        """One line of the table."""
        return (
            f"{self.form:<9} chats {self.chats:>6} (failed {len(self.failures)})  noticed after "
            f"{self.noticed_seconds:4.1f} s  edits live again {self.live_seconds:4.1f} s  next edit "
            f"{self.next_seconds:4.1f} s  'ok' again {self.ok_seconds:4.1f} s  looks {self.looks} "
            f"(wrong {len(self.wrong)})"
        )


@dataclass
class Watch:
    """Observers of one server, and the truth that they compare with."""

    client: Client
    url: str
    report: Report
    fenced_at: float | None = None
    writable_at: float | None = None

    async def chat(self) -> None:
        """Ask again and again."""
        while True:
            try:
                await self.client.say(self.url, "steady")
                self.report.chats += 1
            except Broken as error:
                self.report.failures.append(str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Compare `/readyz` and `/api/sync` with the truth."""
        while True:
            status, ready = await self.client.ready(self.url)
            synced = await self.client.get(f"{self.url}/api/sync")
            self.judge(status, {ready["store"], synced["store"]})
            await asyncio.sleep(LOOK_SECONDS)

    def judge(self, status: int, words: set[str]) -> None:
        """Note what was seen; between a change and its first word the earlier one is true."""
        now, report = time.monotonic(), self.report
        report.looks += 1
        if status != 200:
            report.wrong.append(f"/readyz {status}")
        if self.fenced_at is None:
            wrong = words - {"ok"}
        elif self.writable_at is None:
            if "ok" not in words and report.noticed_seconds != report.noticed_seconds:
                report.noticed_seconds = now - self.fenced_at
            noticed = report.noticed_seconds == report.noticed_seconds
            wrong = words - {"read-only"} if noticed else words - {"ok", "read-only"}
        else:
            if words == {"ok"} and report.ok_seconds != report.ok_seconds:
                report.ok_seconds = now - self.writable_at
            back = report.ok_seconds == report.ok_seconds
            wrong = words - {"ok"} if back else words - {"ok", "read-only"}
        report.wrong += [f"{word!r} at {now - (self.fenced_at or now):.1f} s" for word in wrong]


async def run(form: str, say: Callable[[str], object] = lambda _: None) -> Report:
    """Go through one switch-over; return what was seen."""
    home = Home(Path(mkdtemp(prefix="agentsd-switch-")), new_keys())
    try:
        async with FORMS[form](home) as (url, begin, end), Client() as client:
            return await _run(home, client, url, begin, end, Report(form), say)
    finally:
        await home.clear()


Step = Callable[[], Awaitable[None]]


async def _run(
    home: Home, client: Client, url: str, begin: Step, end: Step, report: Report, say: Callable[[str], object]
) -> Report:
    home.write("steady.yaml", echo("here"))
    home.write("edited.yaml", echo("edit-0"))
    up, address = await home.up(AGENTSD_DATABASE_URL=url, AGENTSD_RATE_LIMIT_ADDRESS="off")
    watch = Watch(client, address, report)
    edits = 0

    async def edit() -> None:
        nonlocal edits
        while True:
            edits += 1
            home.write("edited.yaml", echo(f"edit-{edits}"))
            await asyncio.sleep(EDIT_SECONDS)

    async def serves(number: int) -> bool:
        return int((await client.say(address, "edited")).rpartition("-")[2]) >= number

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch.chat()) for _ in range(CLIENTS)]
        tasks += [group.create_task(watch.look()), group.create_task(edit())]
        await until(lambda: serves(3))
        watch.fenced_at = time.monotonic()
        await begin()
        await asyncio.sleep(READ_ONLY_SECONDS / 2)
        shown = await home.run("status", AGENTSD_DATABASE_URL=url)
        await asyncio.sleep(READ_ONLY_SECONDS / 2)
        before = edits
        await end()
        watch.writable_at = time.monotonic()
        await until(lambda: serves(before))
        report.live_seconds = time.monotonic() - watch.writable_at
        after, made = edits + 1, time.monotonic()
        await until(lambda: serves(after))
        report.next_seconds = time.monotonic() - made
        await asyncio.sleep(AFTER_SECONDS)
        later = await home.run("status", AGENTSD_DATABASE_URL=url)
        report.status = ("read-only" in shown.out, "read-only" in later.out)
        for task in tasks:
            task.cancel()
    say(report.line())
    assert (await up.stop()).code == 0
    return report


@asynccontextmanager
async def fenced(home: Home) -> AsyncIterator[tuple[str, Step, Step]]:
    """One server whose database refuses writes for a while."""
    server = EmbeddedPostgres(home.root / "own", settings=FAST)
    url = await asyncio.to_thread(server.start)
    await asyncio.to_thread(upgrade_schema, url)
    try:
        yield url, lambda: asyncio.to_thread(fence, url), lambda: asyncio.to_thread(unfence, url)
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def promoted(_: Home) -> AsyncIterator[tuple[str, Step, Step]]:
    """A primary that becomes read-only without ending a session, and a standby that is promoted."""
    with servers() as (one, two, url):
        await asyncio.to_thread(upgrade_schema, await asyncio.to_thread(one.start))
        await asyncio.to_thread(two.start)
        yield url, lambda: asyncio.to_thread(_retire, one), lambda: asyncio.to_thread(promote, two)


def _retire(server: EmbeddedPostgres) -> None:
    url = f"postgresql://postgres@/agentsd?host={quote(str(server.data_dir), safe='')}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")


FORMS = {"fenced": fenced, "promoted": promoted}


async def main(names: list[str]) -> None:
    """Print the table."""
    for name in names or NAMES:
        report = await run(name, print)
        for wrong in sorted(set(report.wrong + report.failures))[:20]:
            print(f"  {wrong}")
        print(f"  agentsd status names it: {report.status[0]}, afterwards: {report.status[1]}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
