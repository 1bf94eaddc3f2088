"""Real repositories on disk for the tests of git's write side."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agentsd.files.git.commit import Author, CommitSpec

ORDER = CommitSpec(
    "Change acme/sales", author=Author("Ada", "ada@example.org"), trailers=(("Edited-by", "acme/ci"),)
)
HOOKS = (
    *("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "post-rewrite"),
    *("pre-push", "reference-transaction", "post-index-change", "pre-auto-gc", "fsmonitor-watchman"),
)


def git(root: Path, *arguments: str) -> str:
    """What the system's git prints, as a person would run it."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "core.quotePath=false")
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


@dataclass(frozen=True)
class Place:
    """A repository and the folder of manifests in it."""

    top: Path
    folder: Path

    def write(self, path: str, text: str = "name: Sales\n") -> str:
        """Write a file below the folder, and give its path."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return path

    def committed(self, ref: str = "HEAD") -> list[str]:
        """The files that the last commit of ``ref`` changed, as git's letter and path."""
        options = ("--root", "-r", "--no-commit-id", "--no-renames", "--name-status")
        return git(self.top, "diff-tree", *options, ref).replace("\t", " ").splitlines()

    def status(self) -> list[str]:
        """What is staged or dirty."""
        return sorted(
            line for line in git(self.top, "status", "--porcelain", "-uall", "-z").split("\0") if line
        )

    def everything(self) -> dict[str, bytes]:
        """The work tree's files, the index and HEAD, byte for byte."""
        files = [path for path in self.top.rglob("*") if path.is_file() and ".git" not in path.parts]
        marks = [self.top / ".git" / name for name in ("index", "HEAD")]
        return {str(path): path.read_bytes() for path in (*files, *marks)}


def new_place(root: Path, *, folder: str = "agents.d", first: bool = True) -> Place:
    """A repository on ``main``; with one commit if ``first``."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch", "main")
    place = Place(root, root / folder)
    if first:
        place.write("acme/sales.yaml")
        place.write("support.yaml")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", "first")
    return place


def new_remote(place: Place, path: Path) -> Path:
    """A bare repository on disk that ``place`` calls origin."""
    git(place.top, "init", "--quiet", "--bare", "--initial-branch", "main", str(path))
    git(place.top, "remote", "add", "origin", str(path))
    return path


def plant_hooks(place: Place, witness: Path) -> None:
    """Every hook there is, each of which would write ``witness`` and then refuse."""
    for name in HOOKS:
        hook = place.top / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{witness}'\nexit 1\n")
        hook.chmod(0o755)
    git(place.top, "config", "core.fsmonitor", str(place.top / ".git/hooks/fsmonitor-watchman"))


def lives(pid: int) -> bool:
    """Whether the process runs (one that only waits for its parent to look at it does not)."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


async def appears(file: Path) -> None:
    """Wait for a file that another process writes."""
    async with asyncio.timeout(60):
        while not file.exists():
            await asyncio.sleep(0.01)


def wrap_git(folder: Path, before: str, after: str = "") -> str:
    """A ``git`` in ``folder`` that runs shell commands around the real one, and a PATH that finds it.

    The commands see the real one as ``$REAL``, and in ``$N`` how many calls there have been.
    """
    folder.mkdir()
    wrapper = folder / "git"
    count = shlex.quote(str(folder / "calls"))
    wrapper.write_text(
        f"#!/bin/sh\nREAL={shutil.which('git')}\necho >> {count}\nN=$(($(wc -l < {count})))\n"
        f'{before}\n$REAL "$@"\nCODE=$?\n{after}\nexit $CODE\n'
    )
    wrapper.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"
