"""Text of ``_user.yaml``: a new one, or an old one changed as little as possible."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.files.yaml.edit import update_text

SCHEMA_PATH = "schemas/user.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""


def rewrite_user_file(root: Path, relative: str, before: bytes | None, value: Mapping[str, Any]) -> bytes:
    """Return the user file at ``relative`` with ``value``; ``before`` is its content, None for a new one.

    Comments, order and untouched lines stay. Raises as ``files.yaml.edit``; ``before`` must have been
    read.
    """
    text = make_new_text(root, relative) if before is None else before.decode()
    return update_text(text, value).encode()


def make_new_text(root: Path, relative: str) -> str:
    """Return the beginning of a new file, by which an editor completes and explains it.

    It is empty where the schema is not available.
    """
    if not (root.parent / SCHEMA_PATH).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (relative.count('/') + 1)}{SCHEMA_PATH}\n"
