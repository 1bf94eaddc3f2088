"""Unified diff of two texts, in git's format. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentsd.core.text.line_diff import DiffPart, diff_parts, format_heading, group_parts, mark_lines

_NO_FILE = "/dev/null"
_UNENDED = "\n\\ No newline at end of file\n"

_CONTEXT_LINES = 3
"""Lines of context before and after a change."""


def format_unified_diff(old: str | None, new: str | None, path: str) -> str:
    """Return the diff of the file at ``path``; None: no such file. Empty if nothing differs."""
    before, after = _split_lines(old or ""), _split_lines(new or "")
    hunks = [
        _format_hunk(group, before, after) for group in group_parts(diff_parts(before, after), _CONTEXT_LINES)
    ]
    return format_header(path, new=old is None, gone=new is None) + "".join(hunks) if hunks else ""


def format_header(path: str, *, new: bool, gone: bool) -> str:
    """Return the two lines that a file's diff begins with."""
    return f"--- {_NO_FILE if new else f'a/{path}'}\n+++ {_NO_FILE if gone else f'b/{path}'}\n"


def _split_lines(text: str) -> list[str]:
    """Split text into lines with their ends; only a line feed ends a line, as in git."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _format_hunk(group: Sequence[DiffPart], before: Sequence[str], after: Sequence[str]) -> str:
    lines = (line if line.endswith("\n") else line + _UNENDED for line in mark_lines(group, before, after))
    return f"{format_heading(group)}\n" + "".join(lines)
