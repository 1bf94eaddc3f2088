"""Examples of docs/clients.md: every block of code below a client's heading is one."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"


def read_examples(section: str) -> dict[str, str]:
    """Return the first block of code of a client's section and of its parts (``###``), by their headings."""
    parts = re.split(r"(?m)^## (.+)$", PAGE.read_text())
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    first, *rest = re.split(r"(?m)^### (.+)$", sections.get(section, ""))
    texts = {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
    found = {heading: re.search(r"(?ms)^```\w+\n(.*?)^```$", text) for heading, text in texts.items()}
    return {heading: block[1] for heading, block in found.items() if block}
