"""Compare-and-swap of files: a file is replaced only if it still contains what the writer read.

Editors and git do not use our locks, and a comparison ahead of a rename leaves a gap. So on Linux
the new file and the old one change places (``renameat2(RENAME_EXCHANGE)``), the displaced file is
inspected, and put back if it is not what was expected. At no moment is the file half-written, or
absent. A process that is killed leaves at most a temporary file; ``recover_files`` removes it, and
restores what it contains of somebody else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.files.atomic.lease import hold_lease
from agentsd.files.atomic.temp_files import (
    TEMPORARY_NAME,
    compute_mark,
    open_temp_file,
    read_content,
    stat_file,
    sync_folder,
)
from agentsd.system.file_lock import try_lock
from agentsd.system.process_table import is_alive

_AT_FDCWD = -100  # fcntl.h: paths are relative to the working folder, as usual
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_UNSUPPORTED_ERRNOS = frozenset((errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM))
_FULL_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_LOCK_ATTEMPTS, _PAUSE_SECONDS = 1000, 0.002  # to hold a file that another process swaps: two seconds


class FileChanged(AgentsdError):
    """File without the expected contents: somebody else changed, created or removed it."""

    retryable = True

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.name} was changed by another process meanwhile", hint="read it again, then retry"
        )


class FileRefused(AgentsdError):
    """Refusal of the operating system to write: rights, space, a file system without links."""

    def __init__(self, path: Path, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        super().__init__(
            f"cannot write {path.name}: {reason}", hint="check the folder's owner, mode and space"
        )


class DiskFull(FileRefused):
    """Lack of space for the file: the disk or the user's quota is full."""

    retryable = True


def is_full(error: OSError) -> bool:
    """Return whether the operating system refused for lack of space."""
    return error.errno in _FULL_ERRNOS


def make_refusal(path: Path, error: OSError) -> FileRefused:
    """Return the error for an ``OSError`` about ``path``."""
    return (DiskFull if is_full(error) else FileRefused)(path, error)


def compare_and_swap(path: Path, expected: bytes | None, data: bytes | None) -> None:
    """Write ``data`` to ``path`` if it contains ``expected`` now; None means that there is no file.

    Missing folders are created, the mode is kept, and a link stays a link (if removed, it goes together
    with its target). When this returns, the change is on disk. Raises ``FileChanged``, with everything
    left as somebody else wrote it, and ``FileRefused``.
    """
    try:
        target = Path(os.path.realpath(path))
        if read_content(target) != expected:
            raise FileChanged(path)
        if data == expected:
            return
        if data is None:
            _remove_file(target, expected or b"")
        elif expected is None:
            with _ensure_parents(target):
                _create_file(target, data)
        else:
            _exchange_files(target, expected, data)
        if data is None and path.is_symlink():
            path.unlink(missing_ok=True)
        sync_folder(target.parent)
    except OSError as error:
        raise make_refusal(path, error) from None


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whatever it contained: a reader sees the old file or the new one.

    The mode is kept, and a link stays a link. Raises ``OSError``.
    """
    path = path.resolve()
    with open_temp_file(path, data, stat_file(path)) as temporary:
        temporary.replace(path)
        sync_folder(path.parent)


def recover_files(root: Path) -> None:
    """Remove the temporary files that killed processes left below ``root``; those of live ones stay.

    To be called under ``lock_folder``: process ids of other containers mean nothing here.
    """
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            found = TEMPORARY_NAME.fullmatch(name)
            if found and not is_alive(int(found["pid"])):
                with suppress(OSError):
                    _clear_leftover(
                        Path(folder, name), Path(folder, found["name"]), found["old"], found["new"]
                    )


def _clear_leftover(left: Path, path: Path, old: str | None, new: str | None) -> None:
    """Remove what a killed swap of ``path`` left, unless it displaced an edit: that is restored."""
    held, now = left.read_bytes(), read_content(path)
    foreign = old is not None and compute_mark(held) not in {old, new}
    if foreign and now is not None and compute_mark(now) == new:
        _rename_file(left, path, _EXCHANGE)
    elif foreign and now is None and new == compute_mark(b""):
        _put_in_place(left, path)
    left.unlink(missing_ok=True)


# One step each


def _create_file(path: Path, data: bytes) -> None:
    with open_temp_file(path, data, None) as temporary:
        try:
            _put_in_place(temporary, path)
        except FileExistsError:
            raise FileChanged(path) from None


@contextmanager
def _ensure_parents(path: Path) -> Iterator[None]:
    """Create the folders around ``path``; if the block fails, the new ones are removed again."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # by now it may contain another process's file
                folder.rmdir()
        raise


def _put_in_place(temporary: Path, path: Path) -> None:
    """Move the temporary file to its name. Raises ``FileExistsError`` if the name is taken."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _UNSUPPORTED_ERRNOS:
            raise
        if not _rename_file(temporary, path, _NOREPLACE):  # a file system without links, as on a memory stick
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "exists") from None
            temporary.rename(path)


def _exchange_files(path: Path, expected: bytes, data: bytes) -> None:
    with (
        _hold_file(path),
        open_temp_file(path, data, stat_file(path), expected) as temporary,
        _hold_file(temporary),
    ):
        if read_content(path) != expected:
            raise FileChanged(path)
        ours = _get_inode(temporary)
        try:
            exchanged = _rename_file(temporary, path, _EXCHANGE)
        except FileNotFoundError:
            raise FileChanged(path) from None
        if not exchanged:
            temporary.replace(path)
        elif not _is_settled(temporary, expected):
            _put_back(temporary, path, ours)
            raise FileChanged(path)


@contextmanager
def _hold_file(path: Path) -> Iterator[None]:
    """Lock the very file at ``path`` against other calls of ``compare_and_swap``.

    Both files of an exchange are locked until it is settled, so nobody builds on one that is put back.
    """
    descriptor = _open_locked(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    for _ in range(_LOCK_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            break
        with suppress(FileNotFoundError):
            if _lock_where_supported(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
        time.sleep(_PAUSE_SECONDS)
    raise FileChanged(path)


def _lock_where_supported(descriptor: int) -> bool:
    """Return True if the lock was taken, False if another process or task holds it."""
    try:
        return try_lock(descriptor)
    except OSError:  # a file system without locks: the exchange alone has to suffice
        return True


def _is_settled(displaced: Path, expected: bytes) -> bool:
    """Return whether the displaced file contains ``expected`` and is not open for writing."""
    with displaced.open("rb") as file, hold_lease(file.fileno()) as at_rest:
        return at_rest and file.read() == expected


def _put_back(temporary: Path, path: Path, ours: int) -> None:
    """Exchange until our own file comes out: the newest of other people's files stays."""
    put = ours
    while True:
        back = _get_inode(temporary)
        try:
            _rename_file(temporary, path, _EXCHANGE)
        except FileNotFoundError:  # removed by a process that saw ours: keep that
            return
        if _get_inode(temporary) == put:
            return
        put = back


def _remove_file(path: Path, expected: bytes) -> None:
    """Remove a file by way of another name: it is inspected before it is deleted."""
    with _hold_file(path), open_temp_file(path, b"", None, expected) as temporary:
        if read_content(path) != expected:
            raise FileChanged(path)
        try:
            path.rename(temporary)
        except FileNotFoundError:
            raise FileChanged(path) from None
        if not _is_settled(temporary, expected):
            with suppress(FileExistsError):  # another process made a newer one
                _put_in_place(temporary, path)
            raise FileChanged(path)


def _rename_file(old: Path, new: Path, how: int) -> bool:
    """Call ``renameat2(2)``; return False if the system does not support it. Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED_ERRNOS:
        return False
    raise OSError(number, os.strerror(number))


def _get_inode(path: Path) -> int:
    return path.stat().st_ino
