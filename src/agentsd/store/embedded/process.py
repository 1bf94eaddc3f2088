"""Process of a Postgres server, by the file system and the process table: lock, state and shutdown."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from agentsd.core.errors import ConfigError
from agentsd.store.embedded import os_account as accounts
from agentsd.system.file_lock import try_lock
from agentsd.system.process_table import is_alive

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103  # sun_path: 108 bytes on Linux, 104 on macOS, each with a final NUL


def lock_data_dir(path: Path) -> int:
    """Return the open lock file; the lock lasts as long as it is open.

    It contains our pid for the process that tries next.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not try_lock(handle):
        holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise ConfigError(
            f"the embedded Postgres of this folder is already run by process {holder} ({path.name})",
            hint="stop that process, or choose another data folder or AGENTSD_DATABASE_URL",
        )
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def find_server(data_dir: Path) -> tuple[int, Path] | None:
    """Return pid and socket folder of the server that answers on ``data_dir``.

    None without one; a stale pid file counts as none. A relative socket folder is below the data
    folder.

    postmaster.pid: pid, data folder, start, port, socket folder, address, memory key, status; one a
    line.
    """
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
        pid, sockets, status = int(lines[0]), data_dir / lines[4], lines[7].strip()
    except (OSError, IndexError, ValueError):
        return None
    return (pid, sockets) if status == "ready" and _is_answering(sockets / SOCKET_NAME) else None


def _is_answering(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def choose_socket_dir(data_dir: Path, account: accounts.OsAccount | None) -> Path:
    """Return the data folder, or one with a short name where its path is too long for a socket."""
    if len(os.fsencode(data_dir / SOCKET_NAME)) <= SOCKET_PATH_MAX:
        return data_dir
    name = sha256(os.fsencode(data_dir)).hexdigest()[:16]
    # The account of root's server may be shut out of a TMPDIR of root's, and is never of /tmp.
    short = Path(gettempdir() if account is None else "/tmp") / f"agentsd-{name}"  # noqa: S108
    short.mkdir(mode=0o700, exist_ok=True)
    accounts.chown_path(short, account)
    owner = os.geteuid() if account is None else account.uid
    if short.is_symlink() or short.stat().st_uid != owner:
        raise ConfigError(
            f"{short} belongs to another user", hint="remove it, or choose a shorter data folder"
        )
    short.chmod(0o700)
    return short


def shut_down(pid: int, child: subprocess.Popen[bytes] | None) -> None:
    """Shut down fast: sessions are cut, data is flushed.

    After 10 s the server is killed; it recovers from its log.
    """
    for sent, seconds in ((signal.SIGINT, 10.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0)):
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            break
        if _wait_for_exit(pid, child, seconds):
            return
    _wait_for_exit(pid, child, 0.1)


def _wait_for_exit(pid: int, child: subprocess.Popen[bytes] | None, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not (child.poll() is None if child is not None else is_alive(pid)):
            return True
        time.sleep(0.01)
    return False
