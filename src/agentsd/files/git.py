"""What git knows of the tree: read only, by the system's git."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME")
"""Git gets these and nothing else: no ``SOPS_*`` or ``AGENTSD_*`` ever reaches a hook or a helper."""


async def head_commit(folder: Path) -> str | None:
    """The commit that ``folder`` is checked out at; None outside a repository, or in one without commits."""
    code, out = await _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return out if code == 0 and out else None


def lock_of(folder: Path) -> Path | None:
    """The index lock of the repository around ``folder``: it exists while git writes the work tree."""
    for parent in (folder.absolute(), *folder.absolute().parents):
        mark = parent / ".git"
        if mark.is_dir():
            return mark / "index.lock"
        if mark.is_file():  # a linked work tree or a submodule: "gitdir: <path>"
            return parent / mark.read_text().removeprefix("gitdir:").strip() / "index.lock"
    return None


async def is_older(folder: Path, commit: str, applied: str) -> bool:
    """Whether ``commit`` is a strict ancestor of ``applied``; False where this clone lacks ``applied``."""
    if commit == applied:
        return False
    code, _ = await _git(folder, "merge-base", "--is-ancestor", commit, applied)
    return code == 0


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
