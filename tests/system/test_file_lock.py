"""One lock for folders and files: exclusive between open files, released with its descriptor."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from agentsd.system.file_lock import hold_folder, try_lock, wait_for_lock


def open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def test_a_lock_is_exclusive_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    """A second descriptor of the same folder is refused, and not made to wait."""
    first, second = open_folder(tmp_path), open_folder(tmp_path)
    assert try_lock(first)
    assert not try_lock(second)
    os.close(first)
    assert try_lock(second)
    os.close(second)


async def test_a_wait_ends_with_the_lock_or_at_its_deadline(tmp_path: Path) -> None:
    """Whichever comes first."""
    first, second = open_folder(tmp_path), open_folder(tmp_path)
    clock = asyncio.get_running_loop()
    assert await wait_for_lock(first, clock.time(), 0.001)
    assert not await wait_for_lock(second, clock.time() + 0.01, 0.001)
    waiting = asyncio.create_task(wait_for_lock(second, clock.time() + 30, 0.001))
    await asyncio.sleep(0)
    os.close(first)
    assert await waiting
    os.close(second)


def test_a_held_folder_is_waited_for(tmp_path: Path) -> None:
    """One thread's work ends before the other's begins."""
    order, other_waits = [], threading.Event()

    def wait() -> None:
        other_waits.set()
        with hold_folder(tmp_path):
            order.append("second")

    with hold_folder(tmp_path):
        thread = threading.Thread(target=wait)
        thread.start()
        other_waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
