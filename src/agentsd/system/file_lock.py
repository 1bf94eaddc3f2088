"""Locks by flock(2): the kernel releases them when a process ends, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder; return False while another process or task holds it.

    Raises ``OSError`` where the file system does not support locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def wait_for_lock(descriptor: int, deadline: float, pause_seconds: float) -> bool:
    """Lock as ``try_lock`` does, as soon as it is free; return False at ``deadline`` (the loop's clock)."""
    while not try_lock(descriptor):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(pause_seconds)
    return True


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, however long it takes to get. Blocks: call it in a thread."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
