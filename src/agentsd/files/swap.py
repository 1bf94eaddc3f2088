"""PLACEHOLDER of the founder until helper "rewrite" commits the real one: overwrite this file."""

from __future__ import annotations

from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.files.tree import replace_file


class FileChanged(AgentsdError):
    """The file does not hold what was expected."""


def swap(path: Path, expected: bytes | None, data: bytes | None) -> None:
    """Compare and replace."""
    now = path.read_bytes() if path.exists() else None
    if now != expected:
        raise FileChanged(f"{path} was changed by someone else")
    if data is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)


def sweep(root: Path) -> None:
    """Remove what killed processes left."""
