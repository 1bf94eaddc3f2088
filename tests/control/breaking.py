"""Ways to break a tree of manifests."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VICTIM = "victim.yaml"
GOOD = "good.yaml"


@dataclass(frozen=True)
class Samples:
    """Sealed texts: the victim's, the same with a newer key of another owner, and one that nobody opens."""

    sealed: str
    other: str
    foreign: str


@dataclass(frozen=True)
class Bad:
    """A way to break the tree, and the violation that it makes."""

    name: str
    make: Callable[[Path, Samples], None]
    code: str
    line: int
    column: int
    message: str  # a part of it
    hint: str  # a part of it
    path: str = VICTIM
    sealed: bool = False  # told only where a key is at hand
    require_mac: bool = False
    blamed: str = ""  # by ``validate``, which knows no store: the first by path is the holder


def text(content: str | bytes, path: str = VICTIM) -> Callable[[Path, Samples], None]:
    def make(root: Path, _: Samples) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def edited(pattern: str, replacement: str) -> Callable[[Path, Samples], None]:
    """The sealed victim with one place changed."""

    def make(root: Path, samples: Samples) -> None:
        changed, count = re.subn(pattern, replacement, samples.sealed, count=1)
        assert count == 1
        assert changed != samples.sealed
        (root / VICTIM).write_text(changed)

    return make


def instead(build: Callable[[Path, Samples], None], path: str = VICTIM) -> Callable[[Path, Samples], None]:
    """Something else where the file was."""

    def make(root: Path, samples: Samples) -> None:
        (root / path).unlink(missing_ok=True)
        build(root / path, samples)

    return make


def bind(path: Path, _: Samples) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def outside(path: Path, samples: Samples) -> None:
    secret = path.parent.parent / "outside.yaml"
    secret.write_text(samples.sealed)
    path.symlink_to(secret)


def folder_outside(path: Path, samples: Samples) -> None:
    (path.parent.parent / "elsewhere").mkdir()
    path.symlink_to("../elsewhere")
