"""Snapshot file: written atomically, private to this account, checked before it is used.

Its modification time is when Postgres last confirmed what it contains. Of several processes that
share it, the one that heard from Postgres last wins. An empty file means that its former content is
not valid.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from agentsd.runtime.snapshot_cache.format import (
    CHECKSUM_BYTES,
    MAGIC,
    BadSnapshot,
    CachedSnapshot,
    SnapshotOrigin,
    check_origin,
    pack_snapshot,
    unpack_snapshot,
)
from agentsd.system.file_lock import hold_folder
from agentsd.system.process_table import is_alive

SNAPSHOT_MAX_BYTES = 1 << 30
"""Maximum size of a snapshot that is written or read."""

_HEAD_MAX_BYTES = 1 << 16
_CLOCK_SKEW_SECONDS = 60.0  # s
_REST_SECONDS = 0.0005  # s after each piece: other threads cannot take the GIL during a short system call


def write_snapshot(path: Path, kept: CachedSnapshot, origin: SnapshotOrigin, confirmed: float) -> int:
    """Replace the file atomically; readable by its owner only. Return its size, 0 if not written.

    ``confirmed``: when Postgres last confirmed that this is the newest (epoch seconds). What another
    process of this machine confirmed later stays. Raises ``OSError``, and ``BadSnapshot`` where it is
    too large.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_folder(path.parent):
        if _is_newer(path, confirmed):
            return 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            size = _write_pieces(file, kept, origin)
            file.flush()
            os.fsync(file.fileno())
        os.utime(temporary, (confirmed, confirmed))
        with hold_folder(path.parent):
            if _is_newer(path, confirmed):
                return 0
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return size


def _write_pieces(file: BinaryIO, kept: CachedSnapshot, origin: SnapshotOrigin) -> int:
    """Write the file piece by piece, so that it costs little memory and other threads can run."""
    digest, size = sha256(), 0
    for piece in pack_snapshot(kept, origin):
        digest.update(piece)
        size += len(piece)
        if size > SNAPSHOT_MAX_BYTES:
            raise BadSnapshot(f"it would be larger than {SNAPSHOT_MAX_BYTES >> 20} MiB")
        file.write(piece)
        time.sleep(_REST_SECONDS)
    return size + file.write(digest.hexdigest().encode())


def confirm_snapshot(path: Path, edition: str, confirmed: float) -> bool:
    """Record that Postgres still confirms ``edition``. Return whether the file contains it."""
    try:
        with hold_folder(path.parent), path.open("rb") as file:
            if _read_head(file).get("edition") != edition:
                return False
            if os.fstat(file.fileno()).st_mtime < confirmed:
                os.utime(file.fileno(), (confirmed, confirmed))
            return True
    except (OSError, BadSnapshot):
        return False


def clear_snapshot(path: Path, confirmed: float) -> None:
    """Empty the file until a process writes newer content. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_folder(path.parent):
        if not _is_newer(path, confirmed):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
            os.utime(path, (confirmed, confirmed))


def remove_temp_files(path: Path) -> None:
    """Remove temporary files of processes that were killed while writing."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not is_alive(int(pid)):
            with suppress(OSError):
                left.unlink()


def read_snapshot(path: Path, origin: SnapshotOrigin) -> tuple[CachedSnapshot, float] | None:
    """Return the snapshot and when Postgres confirmed it; None without a file. Raises ``BadSnapshot``."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            _check_status(status)
            if status.st_size == 0:
                return None
            check_origin(_read_head(file), origin)
            file.seek(0)
            data = file.read(SNAPSHOT_MAX_BYTES + CHECKSUM_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadSnapshot(f"it cannot be read: {error.strerror}") from None
    return unpack_snapshot(data), status.st_mtime


def _check_status(status: os.stat_result) -> None:
    """Refuse a file that others can write: with it they could grant themselves access, as with a key."""
    if not stat.S_ISREG(status.st_mode):
        raise BadSnapshot("it is not a regular file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise BadSnapshot("other accounts can write it")


def _read_head(file: BinaryIO) -> dict[str, Any]:
    if file.readline(len(MAGIC)) != MAGIC:
        raise BadSnapshot("it is not a snapshot of agentsd, or damaged")
    try:
        head = orjson.loads(file.readline(_HEAD_MAX_BYTES))
    except ValueError:
        raise BadSnapshot("it is damaged") from None
    if not isinstance(head, dict):
        raise BadSnapshot("it is damaged")
    return head


def _is_newer(path: Path, confirmed: float) -> bool:
    """Return whether another process heard from Postgres later.

    A time in the future comes from a wrong clock and does not count.
    """
    try:
        return confirmed < path.stat().st_mtime < time.time() + _CLOCK_SKEW_SECONDS
    except FileNotFoundError:
        return False
