"""The daemon while the store, or the program itself, is at fault."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from watchfiles._rust_notify import WatchfilesRustInternalError

from agentsd.control.sync import watcher as watcher_module
from agentsd.control.sync.reconciler import Reconciler
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.sync.watcher import POLL_SECONDS, Watcher
from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.core.errors import Bug, StoreUnavailable
from agentsd.files.tree import SourceFile
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from tests.control.daemon import Daemon, daemon
from tests.control.place import Place, echo, make_checker
from tests.runtime.world import Keys


async def test_postgres_goes_away_and_comes_back(
    running: Daemon, database_url: str, postgres_url: str
) -> None:
    """What was saved meanwhile is applied when it is back; the daemon tries again by itself."""
    place, name = running.place, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        place.write({"a.yaml": echo(1, reply="bye")})
        await running.until(lambda report: report.error)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    place.write({"acme/b.yaml": echo(2, reply="bye")})
    await running.until(lambda report: report.outcome and ("update", "acme/b") in running.seen)
    assert set(running.seen) >= {("update", "a"), ("update", "acme/b")}


async def test_a_store_that_is_not_there(place: Place, keys: Keys) -> None:
    """It is told, and tried again with growing pauses, without a change of any file."""
    nowhere = replace(
        place, reconciler=Reconciler(make_checker(keys), Database("postgresql://x@127.0.0.1:1/x"))
    )
    place.write({"a.yaml": echo(1)})
    reports: asyncio.Queue[RoundReport] = asyncio.Queue()
    watcher = Watcher(Syncer(nowhere.root, nowhere.reconciler, nowhere.options, reports.put))
    task = asyncio.create_task(watcher.run())
    for _ in range(3):
        assert isinstance((await reports.get()).error, StoreUnavailable)
    task.cancel()
    await asyncio.wait({task})


class Faulty(Checker):
    """A checker with a fault that nobody foresaw."""

    def check(self, file: SourceFile, *rest: Any) -> CheckResult:
        """Fails on one word."""
        if b"boom" in file.data:
            raise ZeroDivisionError("sk-canary")
        return super().check(file, *rest)


async def test_a_bug_does_not_end_the_daemon(place: Place) -> None:
    """It is told by type and place, and the next change is met as ever."""
    checker = Faulty(default_catalog(), Opener(Identities()))
    place.write({"a.yaml": echo(1)})
    async with daemon(place.again(checker)) as one:
        place.write({"a.yaml": echo(1, reply="boom")})
        error = await one.failed(Bug)
        assert "ZeroDivisionError" in error.message
        assert "canary" not in str(error)
        place.write({"a.yaml": echo(1, reply="bye")})
        await one.applied(("update", "a"))


async def test_a_resync_heals_drift(place: Place) -> None:
    """A hand edit in the database lasts until the next period at most, without any event."""
    place.write({"a.yaml": echo(1)})
    async with daemon(place, resync=0.2) as one:
        await place.execute("UPDATE agents SET name = 'x'")
        await one.until(lambda report: ("heal", "a") in one.seen)


async def test_a_restored_dump_is_healed_at_the_next_contact(running: Daemon, database_url: str) -> None:
    """Nothing announces it, and no file changes."""
    place = running.place
    place.write({"a.yaml": echo(1)})
    await running.until(lambda report: report.outcome and ("create", "a") in running.seen)
    syncer = Syncer(place.root, place.reconciler, place.options, running.report)
    hints = Listener(place.database.listener_dsn, heartbeat_seconds=0.05).hints()
    task = asyncio.create_task(syncer.follow_store(hints))
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("UPDATE agents SET name = 'old'")
        admin.execute("UPDATE versions SET stamp = gen_random_uuid()")
    await running.until(lambda report: report.outcome and ("heal", "a") in running.seen)
    task.cancel()
    await asyncio.wait({task})
    await hints.aclose()


async def test_a_folder_whose_name_is_not_text(running: Daemon) -> None:
    """No watch lasts while it is there; others' edits still arrive, after a second at most."""
    Path(os.fsdecode(os.fsencode(running.place.root) + b"/\xff\xfe")).mkdir()
    for number in range(3):
        running.place.write({"a.yaml": echo(1, reply=f"r{number}")})
        await running.until(lambda report: ("update", "a") in running.seen)
        running.seen.clear()
    assert POLL_SECONDS <= 1


@pytest.mark.parametrize(
    ("refusal", "limit"),
    [
        ("Too many open files (os error 24)", "fs.inotify.max_user_instances"),
        ("OS file watch limit reached.", "fs.inotify.max_user_watches"),
    ],
)
async def test_a_limit_of_inotify(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, refusal: str, limit: str
) -> None:
    """Other programs have taken all of it: edits are applied all the same, and the limit is named.

    The library refuses as it does then: to really take them all would stop the tests beside this one.
    """

    def refuse(*_: object, **__: object) -> None:
        raise WatchfilesRustInternalError(f"Error creating recommended watcher: {refusal}")

    monkeypatch.setattr(watcher_module, "RustNotify", refuse)
    place.write({"a.yaml": echo(1)})
    one = Daemon(place)
    task = asyncio.create_task(Watcher(Syncer(place.root, place.reconciler, place.options, one.report)).run())
    await one.applied(("create", "a"))
    place.write({"a.yaml": echo(1, reply="bye")})
    await one.applied(("update", "a"))
    task.cancel()
    await asyncio.wait({task})
    assert limit in caplog.text
