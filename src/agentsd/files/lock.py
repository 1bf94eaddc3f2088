"""PLACEHOLDER of the founder until helper "rewrite" commits the real one: overwrite this file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentsd.core.errors import AgentsdError


class FolderBusy(AgentsdError):
    """Another process is writing."""

    retryable = True


@asynccontextmanager
async def folder_lock(root: Path, *, timeout: float = 30) -> AsyncIterator[None]:
    """One writer."""
    yield


def unwritable(root: Path) -> str | None:
    """Why files below root cannot be written."""
    return None if os.access(root, os.W_OK) else "no right to write"
