"""Checks of the locks that a manifest names: no network, only what the files contain."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from agentsd.control.validation.attachments import Attached
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.tool_lock import ToolLock, find_lock_problems, parse_lock
from agentsd.core.violations import Violation


def check_tool_locks(document: Document, named: Attached) -> Iterator[Violation]:
    """Yield what is wrong with the locks of ``document``, in their lines, and between it and them."""
    locks: dict[int, ToolLock] = {}
    broken: set[str] = set()
    for pointer, attachment in named.found.items():
        if pointer[0] != "tools" or attachment.data is None:
            continue
        try:
            locks[int(pointer[1])] = _parse_cached(attachment.path, attachment.data)
        except InvalidManifests as error:
            if attachment.path not in broken:
                yield from error.violations
            broken.add(attachment.path)
    for problem in find_lock_problems(document.value.get("tools"), locks):
        yield document.violation(problem.pointer, "lock-mismatch", problem.message, problem.hint)


@lru_cache(maxsize=32)  # hundreds of manifests of a team may name one lock
def _parse_cached(path: str, data: bytes) -> ToolLock:
    return parse_lock(path, data)
