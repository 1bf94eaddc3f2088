"""Whole processes: run and timed, or started, watched and ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from urllib.request import urlopen

import psycopg

from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.bench.fleet import Fleet

AGENTSD = (sys.executable, "-m", "agentsd")
ROOT = Path(__file__).parents[2]
READY_SECONDS = 120.0
SETTLE_SECONDS = 120
_OPENED = re.compile(r"^agentsd_documents_opened_total ([0-9.e+]+)$", re.MULTILINE)
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Spent:
    """What one process cost, in seconds."""

    wall: float
    cpu: float


def spend(command: Sequence[str], environ: Mapping[str, str]) -> Spent:
    """Run ``command`` to its end, in silence. Fails where the command fails."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command[:4]} exited with {process.returncode}"
    return Spent(wall, usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True)
class Server:
    """A server process on 127.0.0.1."""

    url: str
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Return the megabytes of memory that it has now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(command: Sequence[str], environ: Mapping[str, str], url: str = "") -> Iterator[Server]:
    """A server for as long as the context lasts. It prints its URL, or is given one."""
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=dict(environ), cwd=ROOT, stdout=output, stderr=output)
        try:
            yield Server(url or _printed_url(process, output.fileno()), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _printed_url(process: subprocess.Popen[bytes], descriptor: int) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        text = os.pread(descriptor, 1 << 16, 0).decode(errors="replace")
        if found := _URL.search(text):
            return found[0]
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended: {text[-1000:]}")
        time.sleep(0.02)
    raise TimeoutError(f"{process.args} printed no URL within {READY_SECONDS} s")


@contextmanager
def up(fleet: Fleet, folder: Path, **settings: str) -> Iterator[Server]:
    """``agentsd up`` on ``fleet``, with its Postgres in ``folder``/postgres. ``settings``: AGENTSD_*."""
    environ = fleet.environ() | {f"AGENTSD_{name.upper()}": value for name, value in settings.items()}
    command = [*AGENTSD, "up", "--path", str(fleet.root), "--data-dir", str(folder / "postgres")]
    with serving([*command, "--port", "0", "--log-level", "warning"], environ) as server:
        yield server


def settle(server: Server, agents: int) -> None:
    """Wait until the background verifier has opened every agent once: its work is not what is measured."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        with urlopen(f"{server.url}/metrics", timeout=5) as reply:  # noqa: S310  (our own server)
            opened = _OPENED.search(reply.read().decode())
        if opened and float(opened[1]) >= agents:
            return
        time.sleep(0.2)
    raise TimeoutError(f"not every agent was opened within {SETTLE_SECONDS} s")


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with TemporaryDirectory(prefix="agentsd-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Postgres:
    """An embedded server with its ordinary, durable settings, and fresh databases on it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._count = 0
        upgrade_schema(self._named("template"))

    def _named(self, name: str) -> str:
        with psycopg.connect(self._url, autocommit=True) as admin:
            template = "template1" if name == "template" else "template"
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url.replace("/agentsd?", f"/{name}?")

    def fresh(self) -> str:
        """The URL of a new database with every table and no row."""
        self._count += 1
        return self._named(f"fresh{self._count}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server for as long as the context lasts."""
    with workspace() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        try:
            yield Postgres(server.start())
        finally:
            with suppress(OSError):
                server.stop()
