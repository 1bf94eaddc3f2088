"""``_user.yaml`` as text: a new one, or an old one changed as little as can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.files.yaml.edit import rewrite

SCHEMA = "schemas/user.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""


def rewritten(root: Path, relative: str, before: bytes | None, value: Mapping[str, Any]) -> bytes:
    """The user file at ``relative`` as it says ``value``; ``before`` is what it holds, None: there is none.

    Comments, order and untouched lines stay. Raises as ``files.yaml.edit``; ``before`` must have been read.
    """
    text = new_text(root, relative) if before is None else before.decode()
    return rewrite(text, value).encode()


def new_text(root: Path, relative: str) -> str:
    """The beginning of a new file: lets an editor complete and explain it, where the schema is at hand."""
    if not (root.parent / SCHEMA).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (relative.count('/') + 1)}{SCHEMA}\n"
