"""Nothing but the operator ends the process: odd files in the folder, notes that are none, closed streams."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process, until


def put_odd_files(root: Path) -> None:
    """What somebody with a shell, an editor or a checkout leaves in a folder."""
    (root / "closed").mkdir(mode=0)  # a watch of it is refused, unless one is root
    (root / "nowhere").symlink_to("/nonexistent")
    (root / "nowhere.yaml").symlink_to("/nonexistent")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo.yaml")
    os.mkfifo(root / "fifo.md")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(root / "s.yaml"))
    (root / "null.yaml").symlink_to("/dev/zero")
    for name in (b"\xff.yaml", b"\xfe.md"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("x")


@pytest.fixture
def mine(home: Home, database_url: str) -> Home:
    """A home over a database of the test's."""
    home.env["AGENTSD_DATABASE_URL"] = database_url
    return home


async def applied(database_url: str, slug: str, reply: str) -> None:
    """Wait until the store has this agent so."""

    async def look() -> bool:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM agents WHERE slug = %s AND llm_provider_config->>'reply' = %s", (slug, reply)
            )
            return await cursor.fetchone() is not None

    await until(look)


async def test_odd_files_stop_nobody(mine: Home, client: Client) -> None:
    """Each is named, the rest is served, and edits go on; also of what comes while it runs."""
    mine.write("good.yaml", echo("one"))
    put_odd_files(mine.agents)
    (mine.agents / ".agentsd-intent.json/inner").mkdir(parents=True)
    up, url = await mine.up()
    assert await client.say(url, "good") == "one"
    assert "is invalid and is dropped" in up.err
    unreadable = ["closed"] if os.geteuid() else []  # root reads it
    for name in (*unreadable, "nowhere.yaml", "fifo.yaml", "s.yaml", "null.yaml", r"\udcff.yaml"):
        assert name in up.err
    for number, name in enumerate((b".\xff.swp", b"\xfd.yaml", b"\xfc")):
        Path(os.fsdecode(os.fsencode(mine.agents) + b"/" + name)).write_text("x")
        mine.write("good.yaml", echo(f"r{number}"))

        async def look(reply: str = f"r{number}") -> bool:
            return await client.say(url, "good") == reply

        await until(look)
    body = {"description": "new"}
    assert (await client.raw("PATCH", f"{url}/api/agents/good", json=body))[0] == 200
    assert up.running
    assert (await up.stop(signal.SIGINT)).code in (0, 130)


def close_streams() -> None:
    """As ``2>&- >&-`` does."""
    os.close(1)
    os.close(2)


def leave_pipe() -> None:
    """As ``2>&1 | true`` does."""
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)


def fill_disk() -> None:
    """A log on a full disk."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.dup2(full, 2)


@pytest.mark.parametrize("before", [close_streams, leave_pipe, fill_disk])
async def test_nobody_need_read_what_it_prints(
    mine: Home, database_url: str, before: Callable[[], None]
) -> None:
    mine.write("good.yaml", echo("one"))
    mine.before = before
    process: Process = await mine.start("watch")
    await applied(database_url, "good", "one")
    mine.write("bad.yaml", "name: [x\n")
    mine.write("good.yaml", echo("two"))
    await applied(database_url, "good", "two")
    assert process.running
    assert (await process.stop()).code == 0
