"""What git knows of the tree: read only, by the system's git."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path

from agentsd.core.errors import ConfigError

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME")
"""Git gets these and nothing else: no ``SOPS_*`` or ``AGENTSD_*`` ever reaches a hook or a helper."""


async def head_commit(folder: Path) -> str | None:
    """The commit that ``folder`` is checked out at; None outside a repository, or in one without commits.

    Read from git's own files where they say it plainly: to start git costs more than to sync a file.
    """
    git_dir = _git_dir(folder)
    if git_dir is None:
        return None
    with suppress(OSError, UnicodeDecodeError):
        if commit := _head_of(git_dir):
            return commit
    code, out = await _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return out if code == 0 and out else None


def lock_of(folder: Path) -> Path | None:
    """The index lock of the repository around ``folder``: it exists while git writes the work tree."""
    git_dir = _git_dir(folder)
    return git_dir and git_dir / "index.lock"


def _git_dir(folder: Path) -> Path | None:
    for parent in (folder.resolve(), *folder.resolve().parents):  # as git does, past links
        mark = parent / ".git"
        if mark.is_dir():
            return mark
        if mark.is_file():  # a linked work tree or a submodule: "gitdir: <path>"
            return parent / mark.read_text().removeprefix("gitdir:").strip()
    return None


def _head_of(git_dir: Path) -> str | None:
    """The commit in HEAD, or in the branch that it names (gitrepository-layout(5)); None: ask git."""
    head = (git_dir / "HEAD").read_text().strip()
    if head.startswith("ref: "):
        shared = git_dir / "commondir"  # a linked work tree keeps its branches in the main repository
        common = git_dir / shared.read_text().strip() if shared.exists() else git_dir
        head = (common / head.removeprefix("ref: ")).read_text().strip()
    return head if _COMMIT.fullmatch(head) else None


async def is_older(folder: Path, commit: str, applied: str) -> bool:
    """Whether ``commit`` is a strict ancestor of ``applied``; False where this clone lacks ``applied``."""
    if commit == applied:
        return False
    code, _ = await _git(folder, "merge-base", "--is-ancestor", commit, applied)
    return code == 0


async def changed_files(folder: Path, ref: str) -> frozenset[str]:
    """Files below ``folder``, relative to it, that differ from where this branch left ``ref``.

    What is not committed yet counts.
    Raises ``ConfigError`` where git does not know ``ref``.
    """
    code, tracked = await _git(
        folder, "diff", "--merge-base", "--name-only", "-z", "--relative", "--end-of-options", ref, "--", "."
    )
    if code != 0:
        hint = "in CI, fetch it first: a shallow clone knows no other branch"
        raise ConfigError(f"git cannot compare {folder} with {ref!r}", hint=hint)
    _, untracked = await _git(folder, "ls-files", "-z", "--others", "--exclude-standard")
    return frozenset(name for name in (*tracked.split("\0"), *untracked.split("\0")) if name)


async def _git(folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            "-C",
            str(folder),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
    except OSError:  # no git on this machine: the tree is just files
        return 127, ""
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode().strip()
