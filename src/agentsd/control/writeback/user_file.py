"""Text of ``_user.yaml``: a new one, or an old one changed as little as possible."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.core.manifest.document import Document
from agentsd.files.yaml.edit import update_document

SCHEMA_PATH = "schemas/user.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""


def rewrite_user_file(
    root: Path, relative: str, before: Document | None, value: Mapping[str, Any]
) -> Document:
    """Return the user file at ``relative`` with ``value``; ``before`` is None for a new one.

    Comments, order and untouched lines stay. Raises as ``files.yaml.edit``.
    """
    document = before or Document(relative, make_new_text(root, relative).encode(), {})
    return update_document(document, value)


def make_new_text(root: Path, relative: str) -> str:
    """Return the beginning of a new file, by which an editor completes and explains it.

    It is empty where the schema is not available.
    """
    if not (root.parent / SCHEMA_PATH).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (relative.count('/') + 1)}{SCHEMA_PATH}\n"
