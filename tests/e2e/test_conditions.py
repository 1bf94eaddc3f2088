"""A database that is away, read-only, of another schema or closed to us; a stop in the middle of a stream."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterable
from uuid import uuid4

import aiohttp
import psycopg
import pytest

from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import Done, until
from tests.store.test_writability import fence, unfence

PASSWORD = "pw-conditions-77"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def refused(home: Home, url: str, commands: Iterable[str], words: str) -> list[Done]:
    """Every command exits with 1 and says so in these words, briefly: no traceback, no password."""
    done = await asyncio.gather(
        *(home.run(*command.split(), AGENTSD_DATABASE_URL=url) for command in commands)
    )
    for one in done:
        assert one.code == 1, one.said
        assert words in one.err
        assert "→" in one.err, "a hint says what to do"
        for never in ("Traceback", "bug", PASSWORD):
            assert never not in one.said
    return done


async def test_everything_starts_before_postgres(
    home: Home, client: Client, postgres: EmbeddedPostgres
) -> None:
    """``serve`` is alive and not ready, ``watch`` waits; when Postgres comes, both go to work."""
    database_url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, database_url)
    await asyncio.to_thread(postgres.stop)
    home.write("a.yaml", echo("here", id=uuid4()))
    url = f"http://127.0.0.1:{free_port()}"
    env = {"AGENTSD_DATABASE_URL": database_url}
    serve = await home.start("serve", "--port", url.rpartition(":")[2], **env)
    watch = await home.start("watch", **env)
    await serve.says("waiting for Postgres")
    await watch.says("waiting for Postgres")

    async def answers() -> bool:
        try:
            return (await client.ready(url))[0] == 503
        except aiohttp.ClientConnectionError:
            return False

    await until(answers)
    assert (await client.get(f"{url}/healthz")) == {"status": "ok"}
    assert (await client.ready(url))[1]["status"] == "loading"
    failed, _ = await client.raw(
        "POST", f"{url}/v1/chat/completions", json={"model": "a", "messages": [{"role": "user"}]}
    )
    assert failed in (404, 503)
    await asyncio.to_thread(postgres.start)
    await client.serves(url, 1)
    assert (await client.ready(url))[0] == 200
    assert await client.say(url, "a") == "here"
    for process in (serve, watch):
        done = await process.stop()
        assert (done.code, "Traceback" in done.err) == (0, False), done.said


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.soak)])
async def test_what_postgres_refuses(
    home: Home, client: Client, empty_postgres: EmbeddedPostgres, thorough: bool
) -> None:
    """A wrong password, a read-only server, an older, a newer, no schema: each is named, with what to do.

    To one command each; thoroughly, to every one that meets it.
    """
    url = await asyncio.to_thread(empty_postgres.start)
    home.write("a.yaml", echo("here", id=uuid4()))
    most = None if thorough else 1
    await refused(home, url, ["serve --port 0", "sync"][:most], "has no tables of agentsd")
    await asyncio.to_thread(upgrade_schema, url)
    assert (await home.run("sync", AGENTSD_DATABASE_URL=url)).code == 0
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        admin.execute("CREATE ROLE reader LOGIN SUPERUSER")
        admin.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        rules = empty_postgres.data_dir / "pg_hba.conf"
        rules.write_text(f"local all keeper scram-sha-256\n{rules.read_text()}")
        admin.execute("SELECT pg_reload_conf()")

        wrong = url.replace("postgres@", f"keeper:{PASSWORD}x@")
        commands = ["sync", "migrate", "watch", "serve --port 0"]
        await refused(home, wrong, commands[:most], "refused the password")

        reader = url.replace("postgres@", "reader@")
        home.edit("a.yaml", "here", "there")
        await refused(home, reader, ["sync"], "is read-only")
        serve, address = await home.serve(reader)
        assert await client.say(address, "a") == "here"
        assert (await serve.stop()).code == 0

        admin.execute("UPDATE alembic_version SET version_num = '0000'")
        await refused(home, url, ["watch", "serve --port 0"][:most], "older than this program")
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
        await refused(home, url, ["up --port 0", "sync", "migrate"][:most], "newer than this program")


async def test_a_port_in_use(home: Home) -> None:
    """It is told before anything starts: no Postgres, no data folder."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await home.run("up", "--port", str(port))
    assert (done.code, f"127.0.0.1:{port} is in use" in done.err) == (2, True), done.said
    assert not home.data.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.soak)])
async def test_a_stop_lets_open_streams_finish(
    home: Home, client: Client, database_url: str, number: signal.Signals
) -> None:
    """The stream that is open ends whole, events end, nobody new is let in, and the exit status is 0."""
    words = [f"word{index}" for index in range(8)]
    home.write("slow.yaml", echo(" ".join(words), id=uuid4()) + "  delay_seconds: 0.1\n")
    assert (await home.run("sync", AGENTSD_DATABASE_URL=database_url)).code == 0
    serve, url = await home.serve(database_url)
    events = asyncio.create_task(client.raw("GET", f"{url}/api/events"))
    async with client.open_stream(url, "slow") as (_, coming):
        heard = [await anext(coming)]
        serve.send(number)
        await serve.says("stopping")
        assert (await events)[0] == 200
        heard += [word async for word in coming]
    assert "".join(heard).split() == words
    done = await serve.ended()
    assert (done.code, "Traceback" in done.err) == (0, False), done.said
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.ready(url)


async def test_a_switch_over_that_leaves_postgres_read_only(
    home: Home, client: Client, database_url: str
) -> None:
    """Said for as long as it lasts; afterwards files and API writes are applied by the same process."""
    file = home.write("a.yaml", echo("one", id=uuid4()))
    up, url = await home.up("--write-back", "files", AGENTSD_DATABASE_URL=database_url)
    assert await client.say(url, "a") == "one"
    fence(database_url)
    home.edit("a.yaml", "one", "two")

    async def said(state: str) -> bool:
        return (await client.ready(url))[1]["store"] == state

    await until(lambda: said("read-only"))
    assert (await client.ready(url))[0] == 200
    assert (await client.get(f"{url}/api/sync"))["store"] == "read-only"
    assert "read-only" in (await client.get(f"{url}/api/sync"))["store_problem"]
    assert await client.say(url, "a") == "one"
    shown = await home.run("status", AGENTSD_DATABASE_URL=database_url)
    assert "Postgres is read-only" in shown.out
    unfence(database_url)

    async def applied() -> bool:
        return await client.say(url, "a") == "two"

    await until(applied)
    await until(lambda: said("ok"))
    body, kind = {"description": "later"}, {"Content-Type": "application/merge-patch+json"}
    status, text = await client.raw("PATCH", f"{url}/api/agents/a", json=body, headers=kind)
    assert status == 200, text
    assert "later" in file.read_text()
    assert (await up.stop()).code == 0
