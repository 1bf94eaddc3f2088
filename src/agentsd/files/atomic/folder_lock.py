"""Lock of a folder of manifests: one writer among all processes of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.system.file_lock import try_lock

_PAUSE_SECONDS = (0.002, 0.1)  # between attempts: initial, and maximum


class FolderBusy(AgentsdError):
    """Folder to which another process, or another task of this one, writes."""

    retryable = True


class CannotLock(AgentsdError):
    """Folder that is missing or unreadable, or whose file system does not support locks."""


@asynccontextmanager
async def lock_folder(root: Path, *, timeout: float = 30) -> AsyncIterator[None]:
    """Hold ``root`` exclusively; waits up to ``timeout`` seconds.

    The lock is flock(2) on the folder itself: there is no lock file to leave behind, and a killed
    process releases it. Raises ``FolderBusy``, ``CannotLock``.
    """
    descriptor = await _wait_for_lock(root, asyncio.get_running_loop().time() + timeout)
    try:
        yield
    finally:
        os.close(descriptor)


async def _wait_for_lock(root: Path, deadline: float) -> int:
    pause, most = _PAUSE_SECONDS
    while (descriptor := _try_lock(root)) is None:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise FolderBusy(f"other processes write to {root.name} all the time", hint="try again")
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, most)
    return descriptor


def _try_lock(root: Path) -> int | None:
    """Return the descriptor that holds the lock; None while another one does."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _make_refusal(root, error) from None
    try:
        if try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), root.stat()):
            return descriptor
    except FileNotFoundError:  # moved away meanwhile
        pass
    except OSError as error:
        os.close(descriptor)
        raise _make_refusal(root, error) from None
    os.close(descriptor)
    return None


def _make_refusal(root: Path, error: OSError) -> CannotLock:
    reason = os.strerror(error.errno) if error.errno else "it cannot be locked"
    return CannotLock(f"cannot lock {root}: {reason}", hint="use a readable folder on a local disk")


def find_write_problem(root: Path) -> str | None:
    """Return why files in ``root`` cannot be written; None if they can."""
    if not os.path.exists(root):  # noqa: PTH110 - False, not an error, without permission
        return "there is no such folder"
    if not os.path.isdir(root):  # noqa: PTH112
        return "it is not a folder"
    if os.access(root, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return None
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return "it is mounted read-only"
    return "this user has no right to write into it"
