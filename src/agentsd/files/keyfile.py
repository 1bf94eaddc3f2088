"""Key by which this installation recognises its own files beside the manifests.

It is kept where no commit and no pull request can put a file: in the repository's own folder
(``.git``), so that it stays with the tree; for a tree without a repository, in the user's state
folder.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from agentsd.files.git.command import locate_index_lock

KEY_FILE_NAME = "write-back.key"
KEY_BYTES = 32

_PROCESS_KEY = secrets.token_bytes(KEY_BYTES)
"""Key of a process without a folder to store one in: its files are recognized until it ends."""


def sign_data(root: Path, data: bytes) -> str:
    """Return the keyed print of ``data``, which belongs to the tree at ``root``; make the key if needed."""
    return _compute_print(_read_key(root) or _make_key(root), root, data)


def is_own_print(root: Path, data: bytes, keyed_print: object) -> bool:
    """Return whether ``sign_data`` made this print of ``data`` for the tree at ``root``."""
    key = _read_key(root) or _PROCESS_KEY
    return isinstance(keyed_print, str) and hmac.compare_digest(
        keyed_print.encode(errors="replace"), _compute_print(key, root, data).encode()
    )


def _compute_print(key: bytes, root: Path, data: bytes) -> str:
    place = os.fsencode(os.path.realpath(root))
    return hmac.new(key, b"%d:%b:%b" % (len(place), place, data), sha256).hexdigest()


def _locate_key(root: Path) -> Path:
    lock = locate_index_lock(root)
    if lock is not None:
        return lock.with_name(KEY_FILE_NAME)
    from platformdirs import user_state_path

    return user_state_path("agentsd") / KEY_FILE_NAME


def _read_key(root: Path) -> bytes | None:
    """Return the key, or None if there is none that only this user can write."""
    try:
        descriptor = os.open(_locate_key(root), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, RuntimeError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or status.st_size != KEY_BYTES:
            return None
        return file.read(KEY_BYTES)


def _make_key(root: Path) -> bytes:
    """Make the key; whole or not at all, whenever the process is killed."""
    try:
        path = _locate_key(root)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{KEY_FILE_NAME}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except (OSError, RuntimeError, ValueError):
        return _PROCESS_KEY
    return _read_key(root) or _PROCESS_KEY
