"""Reads of files that no other process is writing: half of a file is never taken for the whole.

On Linux a read lease (fcntl(2), "Leases") is refused while anybody has the file open for writing, and
who opens it meanwhile waits until the lease is released: for the time of one read. Where the system
gives no leases (another user's file without CAP_LEASE, a network file system, another system), a file
counts as being written until it was left alone for ``QUIET_SECONDS``; one that was renamed after its
last byte, as an atomic save does it, is taken at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import FileIO
from pathlib import Path

QUIET_SECONDS = 0.5
STALLED_SECONDS = 10.0
"""After so long without a change, a file that is still open for writing is reported."""
_RENAMED_SECONDS = 0.001  # from the last byte to the change of the name, at least
_NETWORKED = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs"))
"""File systems that refuse a lease for other reasons, too."""


class BeingWritten(OSError):
    """Refusal to read a file that another process has open for writing."""

    def __init__(self, status: os.stat_result) -> None:
        super().__init__(errno.EAGAIN, "open for writing")
        self.stalled = time.time() - max(status.st_mtime, status.st_ctime) > STALLED_SECONDS


def read_at_rest(full: str, most: int, *, guess: bool = True) -> bytes:
    """Return the first bytes of a regular file that nobody writes; raise ``BeingWritten`` where one does.

    ``guess``: from its times, where the system gives no lease. Anything else that is at its path by now is
    refused: reading a pipe would never end.
    """
    descriptor = os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with FileIO(descriptor) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with hold_lease(descriptor, guess=guess) as at_rest:
            if not at_rest:
                raise BeingWritten(os.fstat(descriptor))
            return _read_at_most(file, most)


@contextmanager
def hold_lease(descriptor: int, *, guess: bool = True) -> Iterator[bool]:
    """Yield whether no process has this open file open for writing; where possible, keep it so meanwhile."""
    held = _take_lease(descriptor)
    try:
        yield (not guess or _is_quiet(os.fstat(descriptor))) if held is None else held
    finally:
        if held:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _take_lease(descriptor: int) -> bool | None:
    """Return True for a lease, False where a writer has the file open, None where leases do not apply."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # SIGIO, the default, would end the process
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        refused = error.errno == errno.EAGAIN and not _is_networked(os.fstat(descriptor).st_dev)
        return False if refused else None
    return True


def _is_quiet(status: os.stat_result) -> bool:
    """Return whether the times of a file look as if its writer had finished."""
    if status.st_ctime - status.st_mtime > _RENAMED_SECONDS:
        return True
    return not 0 <= time.time() - status.st_mtime < QUIET_SECONDS


@lru_cache(maxsize=64)
def _is_networked(device: int) -> bool:
    """Return whether a device is a file system over a network (proc(5), mountinfo)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    mounts = [line.partition(" - ") for line in lines if line.split()[2] == number]
    return any(kind.split()[0] in _NETWORKED for _, _, kind in mounts)


def _read_at_most(file: FileIO, most: int) -> bytes:
    data = file.read(most)
    while len(data) < most and (piece := file.read(most - len(data))):
        data += piece
    return data
