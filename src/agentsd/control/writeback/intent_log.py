"""Intent log: what a write-back is about to do, kept beside the files until it is done.

A process that is killed between two files, or between a file and its commit, leaves this note;
whoever writes or starts next finishes the work. It contains manifests as they are in git, so
nothing in it is a secret in the clear. Somebody may put such a file into a pull request, with an
author of their choice; so it is trusted only with the keyed fingerprint of this installation
(``files.keyfile``), and even then it can change manifests of their own owner, and nothing else. Of
a user file, which grants rights, it contains only what shows whether the edit of it was made and
has to be committed.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentsd.core.errors import describe
from agentsd.core.names import (
    SUFFIXES,
    USER_FILE,
    is_overlay,
    owner_of,
    owner_of_place,
    slug_of,
    slug_problem,
)
from agentsd.files import keyfile
from agentsd.files.atomic.compare_and_swap import FileChanged, FileRefused, refusal_of, swap
from agentsd.files.git.commit import Author, CommitOrder

NAME = ".agentsd-intent.json"
"""Hidden, so that no sync looks at it."""

NOTE_MAX_BYTES = 64 << 20
"""More than any edit that the API takes needs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileEdit:
    """Content of one file before and after; None: the file does not exist."""

    path: str  # relative to the tree
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Intent:
    """Files that change together, in this order, and the commit that is to contain them."""

    edits: tuple[FileEdit, ...]
    order: CommitOrder | None = None  # None: nothing is committed

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files, in order."""
        return tuple(edit.path for edit in self.edits)


def note(root: Path, intent: Intent) -> None:
    """Record the intent durably before its first step."""
    kept = {"edits": [_edit(edit) for edit in intent.edits], "commit": _order(intent.order)}
    data = json.dumps({**kept, "print": keyfile.sign(root, _canonical(kept))})
    temporary = root / f"{NAME}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(root / NAME)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise refusal_of(root / NAME, error) from None


def done(root: Path) -> None:
    """Clear the intent, which is carried out, or was reverted."""
    (root / NAME).unlink(missing_ok=True)


def carry_out(root: Path, edits: Iterable[FileEdit]) -> None:
    """Apply every edit in turn. Raises ``FileChanged`` at one whose file has changed."""
    for edit in edits:
        swap(root / edit.path, edit.before, edit.after)


def take_back(root: Path, edits: Iterable[FileEdit]) -> None:
    """Revert edits, the last first; a file that was changed since stays as it is, which is logged."""
    for edit in reversed(tuple(edits)):
        try:
            if _now(root, edit.path) != edit.before:  # else it was not its turn yet
                swap(root / edit.path, edit.after, edit.before)
        except (FileChanged, FileRefused):
            _log.warning("an edit of a file cannot be taken back", extra={"path": edit.path})


def is_inside(root: Path, path: str) -> bool:
    """Return whether no link leads a write of ``path`` out of the tree, or into another owner's folder."""
    real, top = Path(os.path.realpath(root / path)), os.path.realpath(root)
    return real.is_relative_to(top) and owner_of_place(real.relative_to(top).as_posix()) == owner_of(path)


def finish(root: Path) -> tuple[tuple[str, ...], CommitOrder | None] | None:
    """Carry out what a killed process left undone.

    Returns (its files, the commit still to be made), or None. A file that somebody has changed since is
    left alone, and not among them.
    """
    try:
        left = _read(root)
    except FileNotFoundError:
        return None
    except Exception as error:  # written by something else than ``note``, which may have written anything
        _discard(root, describe(error))
        return None
    inside = (edit for edit in left.edits if is_inside(root, edit.path))
    return tuple(edit.path for edit in inside if _finish(root, edit)), left.order


def _discard(root: Path, why: str) -> None:
    """Move away whatever is at the intent's path and cannot be one, of any file type."""
    aside = root / f"{NAME}.{time.time_ns()}.refused"
    try:
        if (root / NAME).is_symlink() or not (root / NAME).is_dir():
            done(root)
        else:
            (root / NAME).rename(aside)
    except OSError as error:
        why = f"{why}; {os.strerror(error.errno or 0)}"
    _log.warning(
        "the note of an unfinished edit makes no sense and is dropped", extra={"path": NAME, "error": why}
    )


@dataclass(frozen=True, slots=True)
class _LeftEdit:
    """Stored edit of one file, with only a digest of the previous content."""

    path: str
    before: str | None
    after: bytes | None
    made: str | None = None  # the digest of what a user file is to be; it is not known what that is


@dataclass(frozen=True, slots=True)
class _Left:
    edits: tuple[_LeftEdit, ...]
    order: CommitOrder | None


def _finish(root: Path, edit: _LeftEdit) -> bool:
    """Finish an edit; return whether the file now has the content that the edit wanted."""
    with suppress(FileChanged):
        now = _now(root, edit.path)
        if edit.made is not None:
            return _digest(now) == edit.made
        if now == edit.after:
            return True
        if _digest(now) == edit.before:
            swap(root / edit.path, now, edit.after)
            return True
    _log.warning("a file was changed by someone else; the edit of it is given up", extra={"path": edit.path})
    return False


def _now(root: Path, path: str) -> bytes | None:
    try:
        return (root / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise refusal_of(root / path, error) from None


def _canonical(kept: Mapping[str, Any]) -> bytes:
    return json.dumps(kept, sort_keys=True).encode()


def _read(root: Path) -> _Left:
    kept = json.loads(_content(root / NAME))
    keyed_print = kept.pop("print", None)
    if not keyfile.is_ours(root, _canonical(kept), keyed_print):
        raise ValueError
    order = kept["commit"]
    return _Left(tuple(map(_left_edit, kept["edits"])), None if order is None else _commit_order(order))


def _content(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises ``ValueError`` for anything else, without waiting for it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = file.read(NOTE_MAX_BYTES + 1)
    if len(data) > NOTE_MAX_BYTES:
        raise ValueError("too large")
    return data


def _left_edit(kept: dict[str, Any]) -> _LeftEdit:
    path, before, after = kept["path"], kept["before"], kept["after"]
    if _is_user_file(path):
        return _LeftEdit(path, before, None, str(kept["made"]))
    if is_overlay(path) or not path.endswith(SUFFIXES) or slug_problem(slug_of(path)):
        raise ValueError
    return _LeftEdit(path, before, None if after is None else base64.b64decode(after))


def _is_user_file(path: str) -> bool:
    owner, _, name = path.rpartition("/")
    return name == USER_FILE and "/" not in owner and not (owner and slug_problem(owner))


def _edit(edit: FileEdit) -> dict[str, Any]:
    if _is_user_file(edit.path):
        made = _digest(edit.after)
        return {"path": edit.path, "before": _digest(edit.before), "after": None, "made": made}
    after = None if edit.after is None else base64.b64encode(edit.after).decode()
    return {"path": edit.path, "before": _digest(edit.before), "after": after}


def _digest(data: bytes | None) -> str | None:
    return None if data is None else sha256(data).hexdigest()


def _order(order: CommitOrder | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "subject": order.subject,
        "body": order.body,
        "author": [order.author.name, order.author.email],
        "trailers": [list(trailer) for trailer in order.trailers],
    }


def _commit_order(kept: dict[str, Any]) -> CommitOrder:
    trailers = tuple((name, value) for name, value in kept["trailers"])
    return CommitOrder(
        subject=kept["subject"], body=kept["body"], author=Author(*kept["author"]), trailers=trailers
    )
