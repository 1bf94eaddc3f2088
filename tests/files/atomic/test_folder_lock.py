"""One writer per folder, whatever happens to it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from agentsd.files.atomic.folder_lock import CannotLock, FolderBusy, find_write_problem, lock_folder

HOLDER = """
import asyncio, sys
from pathlib import Path
from agentsd.files.atomic.folder_lock import lock_folder
async def main():
    async with lock_folder(Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""

ADDER = """
import asyncio, sys
from pathlib import Path
from agentsd.files.atomic.folder_lock import lock_folder
async def main():
    count = Path(sys.argv[1], "count")
    for _ in range(30):
        async with lock_folder(Path(sys.argv[1])):
            count.write_text(str(int(count.read_text()) + 1))
asyncio.run(main())
"""


async def start(script: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), stdout=asyncio.subprocess.PIPE
    )


async def test_processes_take_turns(tmp_path: Path) -> None:
    """Reads and writes of four processes do not mix; no lock file is left."""
    (tmp_path / "count").write_text("0")
    adders = [await start(ADDER, tmp_path) for _ in range(4)]
    assert [(await adder.communicate(), adder.returncode)[1] for adder in adders] == [0] * 4
    assert (tmp_path / "count").read_text() == "120"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


async def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    """While it lives the folder is busy; after kill -9 it is free at once."""
    holder = await start(HOLDER, tmp_path)
    assert holder.stdout
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderBusy) as caught:
        async with lock_folder(tmp_path, timeout=0.05):
            pass
    assert caught.value.retryable
    holder.send_signal(signal.SIGKILL)
    await holder.communicate()
    async with lock_folder(tmp_path, timeout=0):
        pass


async def test_tasks_of_one_process_take_turns(tmp_path: Path) -> None:
    """The lock is between holders, not between processes; an error or a cancellation lets go."""
    inside = 0

    async def enter(fail: bool) -> None:
        nonlocal inside
        async with lock_folder(tmp_path):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1
            if fail:
                raise ValueError

    ends = await asyncio.gather(*(enter(n % 2 == 0) for n in range(10)), return_exceptions=True)
    assert [type(end) for end in ends] == [ValueError, type(None)] * 5
    async with lock_folder(tmp_path, timeout=0):
        waiting = asyncio.create_task(enter(False))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with lock_folder(tmp_path, timeout=0):
        pass


async def test_different_folders_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Not even one within the other."""
    (tmp_path / "inner").mkdir()
    async with lock_folder(tmp_path, timeout=0), lock_folder(tmp_path / "inner", timeout=0):
        pass


async def test_what_cannot_be_locked(tmp_path: Path) -> None:
    """A missing folder, a file: said at once, with a remedy."""
    (tmp_path / "file").write_text("")
    for name in ("missing", "file"):
        with pytest.raises(CannotLock) as caught:
            async with lock_folder(tmp_path / name):
                pass
        assert caught.value.hint


def test_why_a_folder_cannot_be_written(tmp_path: Path) -> None:
    """None where it can; else the reason in a few words."""
    assert find_write_problem(tmp_path) is None
    assert find_write_problem(tmp_path / "missing") == "there is no such folder"
    (tmp_path / "file").write_text("")
    assert find_write_problem(tmp_path / "file") == "it is not a folder"
    assert find_write_problem(Path("/sys/kernel")) in {
        "it is mounted read-only",
        "this user has no right to write into it",
        None,  # to root, where /sys is mounted for writing
    }


def test_another_user_has_no_right(tmp_path: Path) -> None:
    """A folder that belongs to somebody else."""
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert find_write_problem(tmp_path) == "this user has no right to write into it"
        tmp_path.chmod(0o700)
        return
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        assert find_write_problem(tmp_path) == "this user has no right to write into it"
    finally:
        os.seteuid(0)
