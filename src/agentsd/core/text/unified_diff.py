"""Unified diff of two texts, in git's format. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentsd.core.text.line_diff import Part, groups, heading, marked, parts

_NOTHING = "/dev/null"
_UNENDED = "\n\\ No newline at end of file\n"

_AROUND = 3
"""Equal lines before and after what differs."""


def unified(old: str | None, new: str | None, path: str) -> str:
    """Return the diff of the file at ``path``; None: no such file. Empty if nothing differs."""
    before, after = _lines(old or ""), _lines(new or "")
    hunks = [_hunk(group, before, after) for group in groups(parts(before, after), _AROUND)]
    return header(path, new=old is None, gone=new is None) + "".join(hunks) if hunks else ""


def header(path: str, *, new: bool, gone: bool) -> str:
    """Return the two lines that a file's diff begins with."""
    return f"--- {_NOTHING if new else f'a/{path}'}\n+++ {_NOTHING if gone else f'b/{path}'}\n"


def _lines(text: str) -> list[str]:
    """Split text into lines with their ends; only a line feed ends a line, as in git."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _hunk(group: Sequence[Part], before: Sequence[str], after: Sequence[str]) -> str:
    lines = (line if line.endswith("\n") else line + _UNENDED for line in marked(group, before, after))
    return f"{heading(group)}\n" + "".join(lines)
