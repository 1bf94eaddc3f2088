"""Temporary files beside the files that they replace: on disk before use, and recognised by name.

``.NAME.<pid>.tmp``: hidden, so that no sync takes one for a manifest. The process id identifies the
writer, and the marks of a swap (expected and new contents) what a killed one left undone.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

_NAME_MAX = 192  # bytes: with its marks, a temporary name must stay within 255
TEMPORARY_NAME = re.compile(
    r"\.(?P<name>.+?)\.(?P<pid>[0-9]{1,10})(-[0-9]{1,3})?(\.(?P<old>[0-9a-f]{16})-(?P<new>[0-9a-f]{16}))?\.tmp",
    re.DOTALL,
)


@contextmanager
def open_temp_file(
    path: Path, data: bytes, like: os.stat_result | None, expected: bytes | None = None
) -> Iterator[Path]:
    """Yield a file beside ``path`` with ``data``, on disk, removed at the end.

    It has the mode and owner of ``like``.
    """
    marks = "" if expected is None else f".{compute_mark(expected)}-{compute_mark(data)}"
    temporary, descriptor = _open_beside(path, marks)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            if like:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode) if like else 0o644)
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _open_beside(path: Path, marks: str) -> tuple[Path, int]:
    """Open ``.NAME.<pid>.tmp``.

    With a number if another thread uses that name, and with marks for ``recover_files``.
    """
    name = os.fsencode(path.name)
    if len(name) > _NAME_MAX:
        name, marks = name[:_NAME_MAX], ""
    stem = f".{os.fsdecode(name)}.{os.getpid()}"
    for number in range(1000):
        temporary = path.with_name(f"{stem}{f'-{number}' if number else ''}{marks}.tmp")
        with suppress(FileExistsError):
            return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    raise FileExistsError(errno.EEXIST, "too many temporary files")


def compute_mark(data: bytes) -> str:
    """Return a short mark, equal for equal bytes only, as far as ``recover_files`` can meet them."""
    return sha256(data).hexdigest()[:16]


def read_content(path: Path) -> bytes | None:
    """Return the contents of the file; None if there is none.

    Raises ``OSError``, also for what is not a regular file.
    """
    status = stat_file(path)
    if status is None:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def stat_file(path: Path) -> os.stat_result | None:
    """Return the result of stat(2), or None if there is no file."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def sync_folder(folder: Path) -> None:
    """Flush a folder, so that its names are durable; some file systems do not support that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
