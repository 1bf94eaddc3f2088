"""Examples of docs/clients.md: the first block of code below each heading."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"


def read_example(section: str) -> str:
    """Return the example below a heading; empty if there is none."""
    return read_examples().get(section, "")


def read_examples() -> dict[str, str]:
    """Return the first block of code below each heading, by heading."""
    if not PAGE.exists():
        return {}
    parts = re.split(r"(?m)^## (.+)$", PAGE.read_text())
    examples = {}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        found = re.search(r"(?ms)^```\w+\n(.*?)^```$", text)
        if found:
            examples[heading] = found[1]
    return examples
