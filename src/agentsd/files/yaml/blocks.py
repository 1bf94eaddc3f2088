"""Texts of YAML put together by lines, so that each keeps its bytes."""

from __future__ import annotations

from agentsd.core.errors import AgentsdError


class CannotSplice(AgentsdError):
    """The text cannot be made to hold the value, or stands in a form that is not edited in place."""


def append_block(text: str, block: str) -> str:
    """``text`` with a top-level block at its end."""
    return f"{text if text.endswith(chr(10)) else text + chr(10)}{block}"


def top_level_block(text: str, key: str) -> str:
    """The lines of one top-level key, from its name to the end of its value."""
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    if start is None:
        raise CannotSplice(f"there is no top-level {key!r} in the text")
    stop = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in (" ", "\n", "-")), len(lines))
    return "".join(lines[start:stop])
