"""Cold start: Postgres is away, and what an earlier run kept serves; when it is back, what is new comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agentsd.providers.catalog import Catalog
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.follower.follower import Follower
from agentsd.runtime.follower.token_index import TokenIndex
from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.keeper import SnapshotKeeper
from agentsd.store.database import Database
from agentsd.telemetry import Metrics
from tests.e2e.canary import needles
from tests.runtime.conftest import Sealed
from tests.runtime.snapshots import ORIGIN
from tests.runtime.world import SECRET, Keys, World, following, new_registry, serves, tampered, until
from tests.vendors.openai_server import OpenAIServer

NEVER = 3600.0
AWAY = "postgresql://agentsd@127.0.0.1:1/agentsd"


def keeper_in(folder: Path, metrics: Metrics | None = None, **options: Any) -> SnapshotKeeper:
    """Keeps at once; ``quiet_s=NEVER``: at the end only."""
    return SnapshotKeeper(folder, ORIGIN, metrics or Metrics(), **{"quiet_s": 0.0, **options})


@dataclass
class Restarted:
    """A runtime that started without Postgres."""

    registry: Registry
    follower: Follower
    tokens: TokenIndex
    metrics: Metrics

    def value(self, name: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name) or 0.0


Restart = Callable[..., Any]


@pytest.fixture
def restart(world: World, keys: Keys, catalog: Catalog, vendor: OpenAIServer, tmp_path: Path) -> Restart:
    """``async with restart() as runtime``: another process' parts, over ``url``."""

    @asynccontextmanager
    async def start(url: str = AWAY) -> AsyncIterator[Restarted]:
        """Over another ``url``, Postgres is away for the first moment only."""
        database, metrics, tokens = Database(url), Metrics(), TokenIndex()
        registry = new_registry(
            database, keys, world.sessions, metrics, catalog=catalog, trusted=[vendor.url]
        )
        follower = Follower(
            database, registry, metrics, tokens=tokens, keeper=keeper_in(tmp_path), poll_s=NEVER
        )
        if url != AWAY:
            await follower._recall()
        task = asyncio.create_task(follower.run())
        try:
            yield Restarted(registry, follower, tokens, metrics)
        finally:
            task.cancel()
            await asyncio.wait({task})
            await registry.aclose(drain_s=0)
            await database.aclose()

    return start


@asynccontextmanager
async def keeping(world: World, folder: Path, **options: Any) -> AsyncIterator[Follower]:
    """A follower that keeps what it serves; all of it is kept at the end."""
    keeper = keeper_in(folder, world.metrics, quiet_s=NEVER, latest_s=NEVER)
    async with following(world, keeper=keeper, poll_s=NEVER, **options) as follower:
        yield follower


def tokens_of(database: Database, version: int, **tokens: str | None) -> None:
    """Write an owner's tokens by hand, as version ``version``; a value is when it expires."""
    listed = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), "role": "admin"}
        | ({"expires": expires} if expires else {})
        for name, expires in tokens.items()
    ]
    with psycopg.connect(database.listener_dsn) as admin:
        admin.execute(
            "INSERT INTO versions (version, stamp) VALUES (%s, gen_random_uuid()) ON CONFLICT DO NOTHING",
            (version,),
        )
        admin.execute(
            """INSERT INTO users (id, username, tokens, path, source, version)
               VALUES (gen_random_uuid(), 'default', %(tokens)s, '_user.yaml', 'main', %(version)s)
               ON CONFLICT (username) DO UPDATE SET tokens = %(tokens)s, version = %(version)s,
                   path = '_user.yaml'""",
            {"tokens": json.dumps(listed), "version": version},
        )


async def test_what_was_served_is_served_again(
    world: World, sealed: Sealed, restart: Restart, tmp_path: Path
) -> None:
    """Agents and their defaults; a broken version stays broken, and the one before it serves on."""
    good = sealed()
    await world.put(a=good, b=sealed(default=True))
    async with keeping(world, tmp_path):
        head = await world.put(a=tampered(good))
        await until(world.registry, serves(world, head.version))
        assert world.condition("a").type == "Degraded"
    async with restart() as runtime:
        await runtime.follower.ready.wait()
        assert runtime.registry.snapshot.version == head.version
        assert runtime.registry.snapshot.defaults["default"] == "b"
        async with runtime.registry.lease("a") as agent:
            assert agent.version == 1
        condition = runtime.registry.snapshot.find("a").condition
        assert (condition.type, condition.reason) == ("Degraded", "SealTampered")
        assert 0 <= runtime.follower.age() < NEVER
        assert runtime.value("agentsd_snapshot_from_disk") == 1
        assert runtime.value("agentsd_snapshot_writes_total") == 0


async def test_it_catches_up_by_versions(
    world: World, sealed: Sealed, restart: Restart, tmp_path: Path
) -> None:
    """The same runtime finds Postgres again and loads what is newer, and no more."""
    text = sealed()
    await world.put(a=text)
    async with keeping(world, tmp_path):
        pass
    head = await world.put(a=text.replace("model: one", "model: two"))
    async with restart(world.database.url) as runtime:
        assert runtime.registry.snapshot.version == 1
        await until(runtime.registry, lambda: runtime.registry.snapshot.version == head.version)
        await until_true(lambda: runtime.follower.recalled is None)
        assert runtime.value("agentsd_snapshot_from_disk") == 0
        assert runtime.value("agentsd_full_reloads_total") == 0


async def test_another_history_is_loaded_whole(
    world: World, sealed: Sealed, restart: Restart, tmp_path: Path
) -> None:
    """Postgres came back from an older backup: its word counts, whatever the file says."""
    await world.put(a=sealed())
    await world.put(b=sealed())
    async with keeping(world, tmp_path):
        pass
    with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
        admin.execute("DELETE FROM agent_revisions WHERE version = 2")
        admin.execute("DELETE FROM agents WHERE version = 2")
        admin.execute("DELETE FROM versions WHERE version = 2")
    async with restart(world.database.url) as runtime:
        assert set(runtime.registry.snapshot.entries) == {"a", "b"}
        await until(runtime.registry, lambda: "b" not in runtime.registry.snapshot.entries)
        await until_true(lambda: runtime.value("agentsd_full_reloads_total") == 1)


async def until_true(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    while not condition():
        await asyncio.sleep(0.002)


async def test_tokens_hold_from_disk(world: World, sealed: Sealed, restart: Restart, tmp_path: Path) -> None:
    """Valid ones let in; revoked, expired and unknown ones do not."""
    await world.put(a=sealed())
    tokens_of(world.database, 1, kept=None, revoked=None, expired="2020-01-01")
    async with keeping(world, tmp_path) as follower:
        tokens_of(world.database, 2, kept=None, expired="2020-01-01")
        follower.nudge()
        await until_true(serves(world, 2))
    async with restart() as runtime:
        await runtime.follower.ready.wait()
        found = {name: runtime.tokens.find(name) for name in ("kept", "revoked", "expired", "other")}
        assert [name for name, holder in found.items() if holder] == ["kept"]
        assert bool(runtime.tokens)


async def test_a_revocation_is_on_disk_before_anything_else(tmp_path: Path) -> None:
    """Killed right after it heard: nothing starts from what was kept before."""
    from tests.runtime.snapshots import kept_of

    keeper = keeper_in(tmp_path, quiet_s=NEVER)
    snapshotfile.write_snapshot(keeper.path, kept_of(1, 2), ORIGIN, time.time() - 1)
    assert await keeper.recall()
    await keeper.forget()
    assert await keeper.recall() is None
    keeping = asyncio.create_task(keeper.run(lambda: kept_of(2, 2)))
    keeper.confirm()
    while not (found := await keeper.recall()):
        await asyncio.sleep(0.002)
    assert found.kept.head.version == 2
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_a_bad_file_is_told_and_passed_over(
    restart: Restart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The runtime waits for Postgres, as without one; nobody is let in by it."""
    keeper = keeper_in(tmp_path)
    keeper.path.write_bytes(b"agentsd snapshot\nhello")
    keeper.path.chmod(0o600)
    async with restart() as runtime:
        await until_true(lambda: "the snapshot on disk is ignored" in caplog.text)
        assert not runtime.follower.ready.is_set()
        assert not runtime.tokens.known


async def test_a_folder_that_cannot_be_written(
    world: World, sealed: Sealed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Is told once, and agents are served."""
    (tmp_path / "file").write_text("")
    await world.put(a=sealed())
    async with following(world, keeper=keeper_in(tmp_path / "file", world.metrics), poll_s=NEVER):
        await until_true(lambda: world.value("agentsd_snapshot_write_failures_total") > 0)
        async with world.registry.lease("a") as agent:
            assert agent.version == 1
    assert caplog.text.count("cannot be kept on disk") == 1


async def test_nothing_but_what_is_sealed_is_kept(world: World, sealed: Sealed, tmp_path: Path) -> None:
    """An agent that is open and in use leaves no plaintext of its seal in the file."""
    await world.put(a=sealed())
    async with keeping(world, tmp_path), world.registry.lease("a"):
        pass
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    assert b"ENC[AES256_GCM" in data
    assert not any(needle in data for needle in needles(SECRET))
    assert path.stat().st_mode & 0o777 == 0o600
