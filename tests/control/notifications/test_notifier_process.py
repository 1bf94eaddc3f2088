"""A daemon in a process of its own, killed in between: each failure and recovery arrives once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.control.notifications.test_notifier import Hook, hook
from tests.control.place import echo

__all__ = ["hook"]


@asynccontextmanager
async def watching(root: Path, database_url: str, urls: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``agentsd watch``, killed at the end."""
    ours = ("AGENTSD_", "SOPS_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {"AGENTSD_DATABASE_URL": database_url, "AGENTSD_NOTIFY_URL_FILE": str(urls)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentsd", "watch", "--path", str(root)),
        env=environ,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.soak
async def test_a_killed_daemon_repeats_nothing(tmp_path: Path, hook: Hook, database_url: str) -> None:
    """Told, killed with -9, started again, mended: two posts in all, and a second failure is a third."""
    root, urls = tmp_path / "agents.d", tmp_path / "urls"
    root.mkdir()
    urls.write_text(f"{hook.url}\n")
    (root / "a.yaml").write_text("name: [\n")
    (root / "b.yaml").write_text(echo(2))
    async with watching(root, database_url, urls):
        await hook.until(lambda: hook.told == [("failing", "manifest:a.yaml")])
        await noted(database_url)
    async with watching(root, database_url, urls):
        (root / "c.yaml").write_text("name: [\n")
        await hook.until(lambda: len(hook.got) == 2)
        assert hook.told[1] == ("failing", "manifest:c.yaml")
        (root / "a.yaml").write_text(echo(1))
        await hook.until(lambda: hook.told[2:] == [("recovered", "manifest:a.yaml")])


async def noted(database_url: str) -> None:
    """Until it is on record who was told: a process that is killed before repeats one post."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as sql:
        while True:
            cursor = await sql.execute("SELECT FROM notices WHERE told <> '[]'")
            if await cursor.fetchone() is not None:
                return
            await asyncio.sleep(0.02)


async def test_a_file_that_is_unfit_ends_the_start(tmp_path: Path, database_url: str) -> None:
    """Exit 2 with the line's number, and nothing of what is in it."""
    root, urls = tmp_path / "agents.d", tmp_path / "urls"
    root.mkdir()
    urls.write_text("canary-secret\n")
    async with watching(root, database_url, urls) as process:
        _, err = await process.communicate()
        assert process.returncode == 2, err
        assert b"urls:1 is not a URL" in err
        assert b"canary" not in err
