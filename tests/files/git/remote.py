"""A repository that somebody pushes to, and what is pulled of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agentsd.core.trust.remotes import parse_remote
from agentsd.files.git.mirror import Mirror
from tests.files.git.repositories import Place, git, new_place, new_remote


@dataclass(frozen=True)
class Origin:
    """A person's clone, and the bare repository that it pushes to."""

    place: Place
    bare: Path
    data: Path

    def commit(self, files: dict[str, str | None], message: str = "change", *options: str) -> str:
        """A commit with these files, pushed. Its name."""
        for path, text in files.items():
            if text is None:
                (self.place.folder / path).unlink()
            else:
                self.place.write(path, text)
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", message, *options)
        return self.push()

    def push(self, *options: str) -> str:
        """Push what is checked out, by force. The commit."""
        self.git("push", "--quiet", "--force", *options, "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        """What git prints in the clone."""
        return git(self.place.top, *arguments)

    def mirror(self, ref: str = "main", url: str = "") -> Mirror:
        """A mirror of it, each time in a folder of its own."""
        count = len(list(self.data.iterdir())) if self.data.is_dir() else 0
        return Mirror(self.data / str(count) / "main.git", parse_remote(url or str(self.bare)), ref)


def new_origin(root: Path) -> Origin:
    """With one commit on ``main``."""
    place = new_place(root / "clone")
    bare = new_remote(place, root / "origin.git")
    origin = Origin(place, bare, root / "data")
    origin.push()
    return origin


def ssh_key(folder: Path, name: str) -> tuple[Path, str]:
    """A fresh key: its private file, and the public line."""
    file = folder / name
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file))
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return file, file.with_suffix(".pub").read_text().strip()


def gpg_key(home: Path, name: str) -> bytes:
    """A fresh key in the keyring at ``home``: its public part."""
    home.mkdir(mode=0o700, exist_ok=True)
    base = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback")
    make = (
        "--passphrase",
        "",
        "--quick-generate-key",
        f"{name} <{name}@example.org>",
        "ed25519",
        "sign",
        "never",
    )
    subprocess.run((*base, *make), check=True, capture_output=True)
    return subprocess.run((*base, "--armor", "--export", name), check=True, capture_output=True).stdout


def end_agent(home: Path) -> None:
    """The agent that gpg started for ``home``."""
    subprocess.run(("gpgconf", "--homedir", str(home), "--kill", "all"), check=False, capture_output=True)


def environ_with(folder: Path) -> str:
    """A PATH that looks into ``folder`` first."""
    return f"{folder}:{os.environ['PATH']}"
