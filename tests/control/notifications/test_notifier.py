"""Notifications: a real receiver over HTTP, a real store, and what syncs leave in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from agentsd.control.notifications.notifier import Notifier
from agentsd.control.notifications.webhooks import NotificationMessage, read_webhooks
from agentsd.control.sync.run_log import record_error, record_result
from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.store.database import Database
from agentsd.store.ledger.health import HealthRow, put_health
from agentsd.store.queries.replicas import Replica, record_heartbeat
from tests.control.place import Place, echo, groq


@dataclass
class Hook:
    """A webhook: what it was sent, and the statuses that it still answers with before 204."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        async with self.news:
            self.got.append(body)
            self.news.notify_all()
        return web.Response(status=self.refusals.pop(0) if self.refusals else 204)

    async def until(self, true: Callable[[], bool]) -> None:
        async with self.news:
            await self.news.wait_for(true)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(one["state"], one["key"]) for one in self.got]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """Listening, with a secret in its URL."""
    one = Hook()
    app = web.Application()
    app.add_routes([web.post("/{secret}", one.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/canary-secret"
    yield one
    await runner.cleanup()


@asynccontextmanager
async def notifying(
    database: Database, file: Path, leads: Callable[[], bool] = lambda: True
) -> AsyncIterator[Notifier]:
    """A notifier at work."""
    one = Notifier(database, "main", file, leads=leads, period=0.05, first_delay=0.01)
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def synced(place: Place, files: dict[str, str | bytes | None]) -> None:
    """A daemon's round, on record."""
    started = datetime.now(UTC)
    outcome = await place.sync(files, strict=False)
    await record_result(place.database, outcome, place.options, trigger="watch", started_at=started)


async def rest(place: Place, notifier: Notifier) -> None:
    """Until the notifier has looked twice more: whatever it had to tell, it told."""
    for _ in range(2):
        notifier.wake()
        while notifier._woken.is_set():
            await asyncio.sleep(0.01)
    async with place.database.transaction() as connection:
        await connection.execute("SELECT")


@pytest.fixture
def file(tmp_path: Path, hook: Hook) -> Path:
    """One receiver of JSON."""
    path = tmp_path / "urls"
    path.write_text(f"# ours\n\n{hook.url}\n")
    return path


async def test_failure_and_recovery_once_each(place: Place, hook: Hook, file: Path) -> None:
    """A manifest that is invalid is told once, whatever happens meanwhile; so is its recovery."""
    async with notifying(place.database, file) as notifier:
        await synced(place, {"a.yaml": echo(1), "b.yaml": groq(2, key="sk-canary-plain")})
        await hook.until(lambda: hook.told == [("failing", "manifest:b.yaml")])
        first = hook.got[0]
        assert (first["reason"], first["source"], first["version"]) == ("PlaintextSecret", "main", 1)
        await synced(place, {"a.yaml": echo(1, reply="bye")})
        await rest(place, notifier)
        await synced(place, {"b.yaml": echo(2)})
        await hook.until(lambda: len(hook.got) == 2)
        await rest(place, notifier)
        assert hook.told == [("failing", "manifest:b.yaml"), ("recovered", "manifest:b.yaml")]
    assert "canary" not in json.dumps(hook.got)


async def test_a_restart_repeats_nothing(place: Place, hook: Hook, file: Path) -> None:
    """Nor does another leader; one that stands by tells nothing at all."""
    await synced(place, {"a.yaml": "name: [\n"})
    async with notifying(place.database, file, leads=lambda: False) as idle:
        await rest(place, idle)
        assert hook.got == []
        async with notifying(place.database, file):
            await hook.until(lambda: len(hook.got) == 1)
    async with notifying(place.database, file) as again:
        await rest(place, again)
        assert len(hook.got) == 1
        await synced(place, {"a.yaml": echo(1)})
        await hook.until(lambda: hook.told[1:] == [("recovered", "manifest:a.yaml")])


async def test_a_refused_run(place: Place, hook: Hook, file: Path) -> None:
    """With its reason; the next one that is well recovers it."""
    async with notifying(place.database, file):
        error = AgentsdError("this would remove 9 agents", hint="mean it")
        await record_error(
            place.database, error, place.options, trigger="watch", started_at=datetime.now(UTC)
        )
        await hook.until(lambda: hook.told == [("failing", "run")])
        assert "9 agents" in hook.got[0]["message"]
        await synced(place, {"a.yaml": echo(1)})
        await hook.until(lambda: hook.told[1:] == [("recovered", "run")])


async def test_a_degraded_replica(place: Place, hook: Hook, file: Path) -> None:
    """An agent that replicas cannot serve as it should be is one failure, on however many; of this source."""
    await synced(place, {"acme/a.yaml": echo(1)})
    entry = {"slug": "acme/a", "reason": "SealLocked", "message": "no key at hand opens it"}
    ids = [uuid4(), uuid4()]

    async def beats(degraded: list[dict[str, str]]) -> None:
        async with place.database.transaction() as connection:
            for number, one in enumerate(ids):
                await record_heartbeat(connection, Replica(one, f"web{number}", 7, 1, degraded))

    async with notifying(place.database, file) as notifier:
        await beats([entry, {"slug": "foreign", "reason": "x", "message": "y"}])
        await hook.until(lambda: len(hook.got) == 1)
        await rest(place, notifier)
        assert hook.told == [("failing", "agent:acme/a")]
        assert "(on 2 replicas)" in hook.got[0]["message"]
        await beats([])
        await hook.until(lambda: hook.told[1:] == [("recovered", "agent:acme/a")])


async def test_an_agent_that_does_not_answer(place: Place, hook: Hook, file: Path) -> None:
    """Its vendor refuses the key: told once, with the field to edit, and again when it answers."""
    await synced(place, {"a.yaml": echo(1)})
    async with place.database.transaction() as connection:
        cursor = await connection.execute("SELECT id, version FROM agents WHERE slug = 'a'")
        agent, version = (await cursor.fetchone()) or (None, 0)
    bad = HealthRow(agent, "llm", version, True, datetime.now(UTC), "groq.com", "wrong-key", None, "llm")

    async def write(row: HealthRow) -> None:
        async with place.database.transaction() as connection:
            await put_health(connection, [row], timedelta(seconds=30))

    async with notifying(place.database, file) as notifier:
        await write(bad)
        await rest(place, notifier)
        assert hook.told == [("failing", "agent:a")]
        assert "llm.api_key" in hook.got[0]["message"]
        await write(replace(bad, failing=False))
        await rest(place, notifier)
    assert hook.told == [("failing", "agent:a"), ("recovered", "agent:a")]


async def test_a_receiver_that_is_away(
    place: Place, hook: Hook, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again until it takes the message; another receiver hears at once; no log shows a URL."""
    hook.refusals = [500, 503]
    file.write_text(f"http://127.0.0.1:9/canary-gone\n{hook.url}\n")
    await synced(place, {"a.yaml": "name: [\n"})
    async with notifying(place.database, file) as notifier:
        await hook.until(lambda: len(hook.got) == 3)
        await rest(place, notifier)
    assert len(hook.got) == 3
    assert "line 1 of the file, no answer" in caplog.text
    assert "canary" not in caplog.text


async def test_slack(place: Place, hook: Hook, file: Path) -> None:
    """One line of text, in which a name cannot make a link or a mention."""
    file.write_text(f"slack:{hook.url}\n")
    async with notifying(place.database, file):
        await synced(place, {"a.yaml": "name: [\n"})
        await hook.until(lambda: len(hook.got) == 1)
    (body,) = hook.got
    assert body.keys() == {"text"}
    assert body["text"].startswith("✗ agentsd main: manifest:a.yaml failing")
    evil = NotificationMessage("failing", "main", "manifest:<!channel>", "X", "a\nb", "2026-01-01T00:00:00Z")
    assert "<" not in evil.body("slack")["text"]
    assert "\n" not in evil.body("slack")["text"]


async def test_the_store_is_away(hook: Hook, file: Path, database_url: str) -> None:
    """Told once by the one who led, and so is that it is back."""
    database = Database(database_url)
    refused = Database("postgresql://nobody@127.0.0.1:9/none")
    leads = [True]
    async with notifying(database, file, leads=lambda: leads[0]) as notifier:
        while not notifier._led:
            await asyncio.sleep(0.01)
        notifier._database = refused
        leads[0] = False
        await hook.until(lambda: hook.told == [("failing", "store")])
        notifier._database = database
        await hook.until(lambda: hook.told[1:] == [("recovered", "store")])
        leads[0] = True
    assert len(hook.got) == 2
    await database.aclose()
    await refused.aclose()


@pytest.mark.parametrize("text", ["ftp://x/y", "slack:", "https://", "http://a b/c", "http://x:99999/"])
def test_a_file_that_is_unfit(tmp_path: Path, text: str) -> None:
    """The error names the line, and shows nothing of it."""
    file = tmp_path / "urls"
    file.write_text(f"https://ok.example/1\n{text}\n")
    with pytest.raises(ConfigError, match=r"urls:2 is not a URL"):
        read_webhooks(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_webhooks(tmp_path / "none")
