"""The follower: a registry stays at the store's newest version, whatever becomes of Postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from agentsd.core.errors import SchemaMismatch
from agentsd.providers.catalog import Catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.verifier import Verifier
from agentsd.runtime.follower.follower import Follower
from agentsd.store.database import Database
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from agentsd.store.queries import replicas
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from tests.databases import FAST, copy_data_folder
from tests.runtime.conftest import Sealed
from tests.runtime.world import Keys, World, following, new_registry, serves, tampered, until

NEVER = 3600.0


async def settled(world: World, condition: Callable[[], bool]) -> None:
    """Wait until ``condition()``, looking again after every event of the loop's next milliseconds."""
    while not condition():
        await asyncio.sleep(0.002)


async def test_a_change_is_live_by_its_notification(world: World, sealed: Sealed) -> None:
    """No poll is needed, and ready means that the first load is served."""
    text = sealed()
    await world.put(a=text)
    async with following(world, poll_s=NEVER) as follower:
        assert world.registry.snapshot.version == 1
        head = await world.put(a=text.replace("model: one", "model: two"))
        await until(world.registry, serves(world, head.version))
        async with world.registry.lease("a") as agent:
            assert agent.version == 2
        assert follower.age() < NEVER
        assert follower.problem is None
        assert b"agentsd_store_contact_age_seconds" in world.metrics.render()


async def test_the_first_load_does_not_wait_for_opening(world: World, sealed: Sealed) -> None:
    """Readiness comes before the verifier; the verifier then finds what is wrong."""
    await world.put(good=sealed(), bad=tampered(sealed()))
    verifier = Verifier(world.registry)
    verifier.pause()
    async with following(world, verifier=verifier):
        assert not any(entry.opened for entry in world.registry.snapshot.ids.values())
        verifier.resume()
        await until(world.registry, lambda: bool(world.registry.problems()))
        assert world.condition("bad").reason == "SealTampered"


async def test_cut_connections_come_back_and_what_was_missed_is_found(world: World, sealed: Sealed) -> None:
    """``pg_terminate_backend`` on everything, again and again: the registry follows without a poll."""
    text = sealed()
    await world.put(a=text)
    async with following(world, poll_s=NEVER):
        for number in range(3):
            with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            head = await world.put(a=text.replace("model: one", f"model: m{number}"))
            await until(world.registry, serves(world, head.version))
        await settled(world, lambda: world.value("agentsd_listen_reconnects_total") >= 1)


async def test_a_missed_notification_is_found_by_the_poll(world: World, sealed: Sealed) -> None:
    """A version that was never announced is served all the same."""
    await world.put(a=sealed())
    async with following(world, poll_s=0.05):
        with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
            admin.execute("INSERT INTO versions (version, stamp) VALUES (2, gen_random_uuid())")
            admin.execute("UPDATE agents SET version = 2, is_active = false")
        await settled(world, serves(world, 2))
        await settled(world, lambda: world.condition("a").type == "Suspended")


async def test_a_restored_database_is_loaded_anew(world: World, sealed: Sealed) -> None:
    """Equal version numbers of another history do not fool the runtime, and what stayed equal stays warm."""
    await world.put(a=sealed())
    await world.put(b=sealed())
    async with following(world, poll_s=NEVER):
        async with world.registry.lease("a") as before:
            pass
        with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
            admin.execute("DELETE FROM agent_revisions WHERE version = 2")
            admin.execute("DELETE FROM agents WHERE version = 2")
            admin.execute("DELETE FROM versions WHERE version = 2")
        head = await world.put(c=sealed())
        assert head.version == 2
        await until(world.registry, lambda: "c" in world.registry.snapshot.entries)
        assert set(world.registry.snapshot.entries) == {"a", "c"}
        async with world.registry.lease("a") as after:
            assert after is before
        assert world.value("agentsd_full_reloads_total") == 2


async def test_heartbeats_tell_what_is_not_opened_yet(world: World, sealed: Sealed) -> None:
    """Of the newest version; and that it is, as soon as it is."""

    async def unopened() -> list[int]:
        async with world.database.transaction() as connection:
            return [one.unopened for one in await replicas.list_replicas(connection)]

    await world.put(a=sealed())
    await world.put(b=sealed(), c=sealed())
    verifier = Verifier(world.registry)
    verifier.pause()
    async with following(world, verifier=verifier, poll_s=NEVER):
        while await unopened() != [2]:
            await asyncio.sleep(0.01)
        verifier.resume()
        while await unopened() != [0]:
            await asyncio.sleep(0.01)


async def test_heartbeats_tell_version_and_trouble(world: World, sealed: Sealed) -> None:
    """The store knows what each replica serves while it runs, and forgets it when it stops."""

    async def listed() -> list[replicas.Replica]:
        async with world.database.transaction() as connection:
            return await replicas.list_replicas(connection)

    text = sealed()
    await world.put(a=text)
    async with following(world, poll_s=NEVER, beat_s=NEVER) as follower:
        while not await listed():
            await asyncio.sleep(0.005)
        head = await world.put(a=tampered(text))
        while (await listed())[0].version < head.version:
            await asyncio.sleep(0.005)
        (replica,) = await listed()
        assert (replica.id, replica.pid) == (follower.replica_id, os.getpid())
        assert [(bad["slug"], bad["reason"]) for bad in replica.degraded] == [("a", "SealTampered")]
    assert await listed() == []


async def test_a_failing_background_task_is_reported(world: World) -> None:
    """With the next heartbeat, for ``agentsd status``; in our own words."""

    async def snapshot() -> None:
        raise ValueError("secret words")

    supervisor = Supervisor()
    async with supervisor.group() as tasks, following(world, beat_s=0.02, supervisor=supervisor):
        tasks.start("snapshot", snapshot)
        found: list[Any] = []
        while not found:
            async with world.database.transaction() as connection:
                found = [
                    task for one in await replicas.list_replicas(connection) for task in one.failing_tasks
                ]
            await asyncio.sleep(0.01)
    assert found[0]["task"] == "snapshot"
    assert found[0]["failures"] >= 1
    assert "secret" not in found[0]["message"]


async def test_a_database_without_tables_is_waited_for(
    empty_database_url: str, keys: Keys, catalog: Catalog
) -> None:
    """The follower says what is wrong, never gives up, and is ready once the tables are there."""
    database, sessions, metrics = Database(empty_database_url), HttpSessions(), Metrics()
    registry = new_registry(database, keys, sessions, metrics, catalog=catalog)
    follower = Follower(database, registry, metrics)
    task = asyncio.create_task(follower.run())
    while follower.problem is None:
        await asyncio.sleep(0.005)
    assert isinstance(follower.problem, SchemaMismatch)
    assert not follower.ready.is_set()
    await asyncio.to_thread(upgrade_schema, empty_database_url)
    await follower.ready.wait()
    assert follower.problem is None
    task.cancel()
    await asyncio.wait({task})
    await registry.aclose(drain_s=0)
    await sessions.aclose()
    await database.aclose()


async def test_an_unforeseen_error_does_not_end_it(world: World, sealed: Sealed) -> None:
    """A table that is gone for a while: the error is shown, agents serve on, and the load is made up for."""
    text = sealed()
    await world.put(a=text)
    async with following(world, poll_s=0.05) as follower:
        with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
            admin.execute("ALTER TABLE versions RENAME TO hidden")
            await settled(world, lambda: follower.problem is not None)
            async with world.registry.lease("a"):
                pass
            admin.execute("ALTER TABLE hidden RENAME TO versions")
        head = await world.put(a=text.replace("model: one", "model: two"))
        await settled(world, serves(world, head.version))
        await settled(world, lambda: follower.problem is None)


async def test_an_agent_opened_without_the_store_is_checked_again_when_it_is_back(
    world: World, sealed: Sealed
) -> None:
    """Whose seal it is can only be asked later; the answer is acted on then."""
    text = sealed()
    await world.put(acme__a=text)
    await world.put(evil__a=text.replace(text.split()[1], str(uuid4())))
    await world.load()
    with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
        admin.execute("ALTER TABLE seals RENAME TO hidden")
        async with world.registry.lease("evil/a"):
            pass
        admin.execute("ALTER TABLE hidden RENAME TO seals")
    await world.registry.openings.verify_again()
    assert (world.condition("evil/a").type, world.condition("evil/a").reason) == ("Invalid", "SealReused")
    assert world.entry("evil/a").built is None


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that may be killed."""
    folder = Path(mkdtemp(prefix="agentsd-pg-"))
    copy_data_folder(folder / "data")
    server = EmbeddedPostgres(folder / "data", settings={**FAST, "synchronous_commit": "on"})
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def kill(folder: Path) -> None:
    """kill -9 on the postmaster; its children end by themselves."""
    pid = int((folder / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_postgres_may_be_killed_and_restarted(
    own_postgres: EmbeddedPostgres, keys: Keys, catalog: Catalog, kills: int
) -> None:
    """While it is away every agent answers, cold ones too; when it is back the runtime catches up."""
    url = await asyncio.to_thread(own_postgres.start)
    await asyncio.to_thread(upgrade_schema, url)
    database, sessions, metrics = Database(url), HttpSessions(), Metrics()
    registry = new_registry(database, keys, sessions, metrics, catalog=catalog)
    world = World(database, registry, sessions, metrics)
    echo = "id: {}\nllm:\n  provider: echo.local\n  reply: {}\n"
    warm, colds = uuid4(), {f"cold{number}": echo.format(uuid4(), "hello") for number in range(kills)}
    await world.put(warm=echo.format(warm, "r0"), **colds)
    verifier = Verifier(registry)
    verifier.pause()
    async with following(world, verifier=verifier):
        for number in range(1, kills + 1):
            kill(own_postgres.data_dir)
            while own_postgres.alive():
                await asyncio.sleep(0.01)
            for slug in ("warm", f"cold{number - 1}"):
                async with registry.lease(slug) as agent:
                    assert agent.llm is not None
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.to_thread(own_postgres.start)
            head = await world.put(warm=echo.format(warm, f"r{number}"))
            await until(registry, serves(world, head.version))
            async with registry.lease("warm") as agent:
                assert agent.llm is not None
                reply = await agent.llm.complete({"messages": []})
                assert reply["choices"][0]["message"]["content"] == f"r{number}"
    await registry.aclose(drain_s=0)
    await sessions.aclose()
    await database.aclose()


@pytest.mark.parametrize("told", [{"listen_s": 0.05, "beat_s": NEVER}, {"listen_s": NEVER, "beat_s": 0.05}])
async def test_a_restored_dump_is_noticed_at_the_next_contact(world: World, told: dict[str, float]) -> None:
    """Nothing announces it, and nobody polls; whoever has contact sees that the history is another one."""
    text = "id: {}\nllm:\n  provider: echo.local\n  reply: {}\n"
    agent = uuid4()
    await world.put(a=text.format(agent, "old"), b=text.format(uuid4(), "b"))
    await world.put(a=text.format(agent, "new"))
    async with following(world, poll_s=NEVER, **told):
        await settled(world, lambda: len(world.registry.snapshot.entries) == 2)
        with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
            admin.execute("UPDATE agents SET deleted_at = now(), version = 1 WHERE slug = 'b'")
            admin.execute("UPDATE versions SET stamp = gen_random_uuid()")
        await settled(world, lambda: "b" not in world.registry.snapshot.entries)


@pytest.mark.parametrize(
    "edit",
    [
        """attachments = '{"sources": 5}'""",
        """attachments = '{"layers": [{"path": "x", "digest": "zz"}]}'""",
        """attachments = '"x"'""",
        "updated_at = 'infinity', created_at = '4000-01-01 BC'",
    ],
)
async def test_a_row_that_was_edited_by_hand_hurts_nobody_else(world: World, edit: str) -> None:
    """It answers as its document says, or is Invalid and says so; the others are served."""
    text = "id: {}\nllm:\n  provider: echo.local\n  reply: hello\n"
    await world.put(a=text.format(uuid4()), b=text.format(uuid4()))
    with psycopg.connect(world.database.listener_dsn, autocommit=True) as admin:
        admin.execute(f"UPDATE agents SET {edit} WHERE slug = 'a'".encode())  # noqa: S608
    async with following(world):
        async with world.registry.lease("b") as agent:
            assert agent.llm is not None
        await world.registry.openings.verify_again()
        while world.registry.openings.unopened(1):
            await asyncio.sleep(0.002)
        assert world.condition("a").type in ("Ready", "Invalid")
        named = "sources" in edit or "layers" in edit
        assert (world.condition("a").reason == "InvalidManifest") is named
