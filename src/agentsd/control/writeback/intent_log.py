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
from posixpath import normpath
from typing import Any

from agentsd.core.errors import describe_error
from agentsd.core.names import (
    SUFFIXES,
    USER_FILE,
    derive_slug,
    find_slug_problem,
    is_overlay,
)
from agentsd.files import keyfile
from agentsd.files.atomic.compare_and_swap import FileChanged, FileRefused, compare_and_swap, make_refusal
from agentsd.files.git.commit import Author, CommitSpec
from agentsd.files.tree import find_foreign_link, is_attachment_name

INTENT_NAME = ".agentsd-intent.json"
"""Hidden, so that no sync looks at it."""

INTENT_MAX_BYTES = 64 << 20
"""More than any edit of the API needs."""

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
    order: CommitSpec | None = None  # None: nothing is committed

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files, in order."""
        return tuple(edit.path for edit in self.edits)


def record_intent(root: Path, intent: Intent) -> None:
    """Record the intent durably before its first step."""
    kept = {"edits": [_dump_edit(edit) for edit in intent.edits], "commit": _dump_commit_spec(intent.order)}
    data = json.dumps({**kept, "print": keyfile.sign_data(root, _make_canonical(kept))})
    temporary = root / f"{INTENT_NAME}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(root / INTENT_NAME)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise make_refusal(root / INTENT_NAME, error) from None


def clear_intent(root: Path) -> None:
    """Clear the intent, which is carried out, or was reverted."""
    (root / INTENT_NAME).unlink(missing_ok=True)


def carry_out(root: Path, intent: Intent) -> None:
    """Carry out an intent without a commit: recorded, applied and cleared; reverted on an error."""
    record_intent(root, intent)
    try:
        apply_edits(root, intent.edits)
    except Exception:
        revert_edits(root, intent.edits)
        clear_intent(root)
        raise
    clear_intent(root)


def apply_edits(root: Path, edits: Iterable[FileEdit]) -> None:
    """Apply every edit in turn. Raises ``FileChanged`` at one whose file has changed."""
    for edit in edits:
        compare_and_swap(root / edit.path, edit.before, edit.after)


def revert_edits(root: Path, edits: Iterable[FileEdit]) -> None:
    """Revert edits, the last first; a file that was changed since stays as it is, which is logged."""
    for edit in reversed(tuple(edits)):
        try:
            if _read_current(root, edit.path) != edit.before:  # else it was not its turn yet
                compare_and_swap(root / edit.path, edit.after, edit.before)
        except (FileChanged, FileRefused):
            _log.warning("an edit of a file cannot be undone", extra={"path": edit.path})


def is_inside(root: Path, path: str) -> bool:
    """Return whether no link leads a write of ``path`` out of the tree, or to a foreign file."""
    real, top = Path(os.path.realpath(root / path)), os.path.realpath(root)
    if not real.is_relative_to(top):
        return False
    return find_foreign_link(path, real.relative_to(top).as_posix(), is_folder=False) is None


def finish_intent(root: Path) -> tuple[tuple[str, ...], CommitSpec | None] | None:
    """Carry out what a killed process left undone.

    Returns (its files, the commit still to be made), or None. A file that somebody has changed since is
    left alone, and not among them.
    """
    try:
        left = _read_intent(root)
    except FileNotFoundError:
        return None
    except Exception as error:  # not written by ``record_intent``, so it may contain anything
        _discard_intent(root, describe_error(error))
        return None
    inside = (edit for edit in left.edits if is_inside(root, edit.path))
    return tuple(edit.path for edit in inside if _finish_edit(root, edit)), left.order


def _discard_intent(root: Path, why: str) -> None:
    """Move away whatever is at the intent's path and cannot be one, of any file type."""
    aside = root / f"{INTENT_NAME}.{time.time_ns()}.refused"
    try:
        if (root / INTENT_NAME).is_symlink() or not (root / INTENT_NAME).is_dir():
            clear_intent(root)
        else:
            (root / INTENT_NAME).rename(aside)
    except OSError as error:
        why = f"{why}; {os.strerror(error.errno or 0)}"
    _log.warning(
        "the note of an unfinished edit is invalid and is dropped",
        extra={"path": INTENT_NAME, "error": why},
    )


@dataclass(frozen=True, slots=True)
class _StoredEdit:
    """Stored edit of one file, with only a digest of the previous content."""

    path: str
    before: str | None
    after: bytes | None
    made: str | None = None  # the digest of what a user file is to be; it is not known what that is


@dataclass(frozen=True, slots=True)
class _StoredIntent:
    edits: tuple[_StoredEdit, ...]
    order: CommitSpec | None


def _finish_edit(root: Path, edit: _StoredEdit) -> bool:
    """Finish an edit; return whether the file now has the content that the edit wanted."""
    with suppress(FileChanged):
        now = _read_current(root, edit.path)
        if edit.made is not None:
            return _compute_digest(now) == edit.made
        if now == edit.after:
            return True
        if _compute_digest(now) == edit.before:
            compare_and_swap(root / edit.path, now, edit.after)
            return True
    _log.warning("a file was changed by another process; its edit is abandoned", extra={"path": edit.path})
    return False


def _read_current(root: Path, path: str) -> bytes | None:
    try:
        return (root / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise make_refusal(root / path, error) from None


def _make_canonical(kept: Mapping[str, Any]) -> bytes:
    return json.dumps(kept, sort_keys=True).encode()


def _read_intent(root: Path) -> _StoredIntent:
    kept = json.loads(_read_regular_file(root / INTENT_NAME))
    keyed_print = kept.pop("print", None)
    if not keyfile.is_own_print(root, _make_canonical(kept), keyed_print):
        raise ValueError
    order = kept["commit"]
    return _StoredIntent(
        tuple(map(_parse_edit, kept["edits"])), None if order is None else _parse_commit_spec(order)
    )


def _read_regular_file(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises ``ValueError`` for anything else, without waiting for it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = file.read(INTENT_MAX_BYTES + 1)
    if len(data) > INTENT_MAX_BYTES:
        raise ValueError("too large")
    return data


def _parse_edit(kept: dict[str, Any]) -> _StoredEdit:
    path, before, after = kept["path"], kept["before"], kept["after"]
    if _is_user_file(path):
        return _StoredEdit(path, before, None, str(kept["made"]))
    if is_attachment_name(path) and _is_plain_path(path):
        return _StoredEdit(path, before, None if after is None else base64.b64decode(after))
    if is_overlay(path) or not path.endswith(SUFFIXES) or find_slug_problem(derive_slug(path)):
        raise ValueError
    return _StoredEdit(path, before, None if after is None else base64.b64decode(after))


def _is_plain_path(path: str) -> bool:
    """Return whether a path stays below the tree, in folders that a sync looks into."""
    return path == normpath(path) and not any(part.startswith(".") for part in path.split("/"))


def _is_user_file(path: str) -> bool:
    owner, _, name = path.rpartition("/")
    return name == USER_FILE and "/" not in owner and not (owner and find_slug_problem(owner))


def _dump_edit(edit: FileEdit) -> dict[str, Any]:
    if _is_user_file(edit.path):
        made = _compute_digest(edit.after)
        return {"path": edit.path, "before": _compute_digest(edit.before), "after": None, "made": made}
    after = None if edit.after is None else base64.b64encode(edit.after).decode()
    return {"path": edit.path, "before": _compute_digest(edit.before), "after": after}


def _compute_digest(data: bytes | None) -> str | None:
    return None if data is None else sha256(data).hexdigest()


def _dump_commit_spec(order: CommitSpec | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "subject": order.subject,
        "body": order.body,
        "author": [order.author.name, order.author.email],
        "trailers": [list(trailer) for trailer in order.trailers],
    }


def _parse_commit_spec(kept: dict[str, Any]) -> CommitSpec:
    trailers = tuple((name, value) for name, value in kept["trailers"])
    return CommitSpec(
        subject=kept["subject"], body=kept["body"], author=Author(*kept["author"]), trailers=trailers
    )
