"""``python -m tests.control.crasher ROOT MODE``: write-backs in processes that are killed where one says.

Reads a JSON object per line: ``{"do": "set-default", "slug": "b", "kill_at": 7}`` or
``{"do": "recover", "kill_at": 0}`` (0: nowhere), and writes ``{"code": -9, "at": "os.rename …"}``.
Each is done by a process of its own: forked from this one, which has imported everything and has no
thread. Places to be killed at are counted from 1: before each audited operation on a file of the
repository, before each start of a program, and before and after each fsync.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agentsd.files.git.commit
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.writeback.commands import EditTarget, SetDefault
from agentsd.control.writeback.delivery import WriteMode
from agentsd.control.writeback.manifest_editor import SealingEditor
from agentsd.control.writeback.writer import WriteBack
from agentsd.core.access import LOCAL
from agentsd.providers.catalog import default_catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.store.queries.agents import load_stored
from tests.control.place import make_checker

assert agentsd.files.git.commit  # imported before the fork

_FILES = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.symlink", "shutil.rmtree")
_OTHERS = ("subprocess.Popen", "ctypes.dlsym", "fcntl.flock", "fcntl.fcntl")


class Places:
    """Counts the places, and kills this process at one."""

    def __init__(self, repository: Path, kill_at: int, told: int) -> None:
        self._repository = str(repository)
        self._kill_at = kill_at
        self._told = told
        self._count = 0
        self._fsync = os.fsync

    def watch(self) -> None:
        """From now on."""
        sys.addaudithook(self._audit)
        os.fsync = self._synced  # type: ignore[assignment]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _OTHERS or (event in _FILES and self._ours(arguments[0])):
            self._reach(f"{event} {arguments[1] if event == 'subprocess.Popen' else arguments[0]}")

    def _ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._repository)

    def _synced(self, descriptor: int) -> None:
        self._reach("before fsync")
        self._fsync(descriptor)
        self._reach("after fsync")

    def _reach(self, place: str) -> None:
        self._count += 1
        if self._count == self._kill_at:
            os.write(self._told, place[:500].encode())
            os.kill(os.getpid(), signal.SIGKILL)


class Crasher:
    """Over one tree and one store."""

    def __init__(self, root: Path, mode: WriteMode, url: str) -> None:
        self._root = root
        self._mode = mode
        self._url = url
        self._checker = make_checker(None)
        self._desk = SealingEditor(
            root, default_catalog(), Opener(Identities(), None), SopsBinary(environ={})
        )

    def serve(self) -> None:
        """Until the input ends."""
        for line in sys.stdin:
            print(json.dumps(self._forked(json.loads(line))), flush=True)

    def _forked(self, order: dict[str, Any]) -> dict[str, Any]:
        heard, told = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(self._child(order, told))
        os.close(told)
        with os.fdopen(heard, "rb") as place:
            _, status = os.waitpid(child, 0)
            return {"code": os.waitstatus_to_exitcode(status), "at": place.read().decode()}

    def _child(self, order: dict[str, Any], told: int) -> int:
        edits: dict[str, Callable[[], Any]] = {
            "recover": self._recover,
            "set-default": lambda: self._set_default(order["slug"]),
        }
        try:
            Places(self._root.parent, order["kill_at"], told).watch()
            asyncio.run(edits[order["do"]]())
        except BaseException as error:  # nothing may go up into the parent's loop
            os.write(told, repr(error)[:500].encode())
            return 1
        return 0

    async def _recover(self) -> None:
        """As ``up`` does at its start."""
        database = Database(self._url)
        syncer, writeback = self._parts(database)
        await writeback.recover()
        report = await syncer.round(None)
        assert report.outcome, report.error
        await database.aclose()

    async def _set_default(self, slug: str) -> None:
        database = Database(self._url)
        _, writeback = self._parts(database)
        async with database.transaction(snapshot=True) as connection:
            stored = await load_stored(connection, "main")
        row = next(row for row in stored.agents.values() if row.slug == slug)
        target = EditTarget(row.id, slug, "default", f"{slug}.yaml", "main")
        await writeback.execute(LOCAL, SetDefault(target))
        await database.aclose()

    def _parts(self, database: Database) -> tuple[Syncer, WriteBack]:
        async def unheard(_: RoundReport) -> None:
            pass

        reconciler = Reconciler(self._checker, database)
        syncer = Syncer(self._root, reconciler, SyncOptions(strict=False), unheard)
        return syncer, WriteBack(self._desk, syncer, mode=self._mode)


if __name__ == "__main__":
    Crasher(Path(sys.argv[1]), sys.argv[2], os.environ["AGENTSD_DATABASE_URL"]).serve()  # type: ignore[arg-type]
