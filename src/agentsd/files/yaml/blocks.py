"""Line-wise composition of YAML texts, in which each part keeps its bytes."""

from __future__ import annotations

from agentsd.core.errors import AgentsdError


class CannotEdit(AgentsdError):
    """Text that cannot be edited to contain the value, or whose form is not edited in place."""


def append_block(text: str, block: str) -> str:
    """Return ``text`` with a top-level block at its end."""
    return f"{text if text.endswith(chr(10)) else text + chr(10)}{block}"


def extract_top_level_block(text: str, key: str) -> str:
    """Return the lines of one top-level key, from its name to the end of its value."""
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    if start is None:
        raise CannotEdit(f"the text has no top-level {key!r}")
    stop = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in (" ", "\n", "-")), len(lines))
    return "".join(lines[start:stop])
