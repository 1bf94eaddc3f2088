"""The sandbox keeps hostile work within its limits, and its own process out of reach."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsd.core.errors import ConfigError, FunctionFailed, LimitExceeded, WorkerFailed
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.pool import Sandbox
from tests.sandbox import work


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(CallLimits(memory=256 << 20, cpu_seconds=1.0, wall_seconds=10.0), workers=1)
    yield made
    made.close()


def test_a_result_comes_back_as_plain_values(sandbox: Sandbox) -> None:
    value = {"text": "ä\x00", "number": 1.5, "list": [1, None, True]}
    assert sandbox.call(work.echo, value) == value
    assert sandbox.call(work.echo, b"\xff\x00") == b"\xff\x00"


def test_a_worker_stays_warm_and_a_dead_one_is_replaced(sandbox: Sandbox) -> None:
    first = sandbox.call(os.getpid)
    assert sandbox.call(os.getpid) == first
    os.kill(first, signal.SIGKILL)
    os.waitid(
        os.P_PID, first, os.WEXITED | os.WNOWAIT
    )  # a zombie whose threads are ending still holds its socket
    assert sandbox.call(os.getpid) != first


def test_a_worker_inherits_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-1")
    read, write = os.pipe()
    os.set_inheritable(read, True)
    try:
        seen = sandbox.call(work.surroundings)
    finally:
        os.close(read)
        os.close(write)
    assert "SOPS_AGE_KEY" not in seen["environment"]
    assert not [name for name in seen["environment"] if name.startswith(("AGENTSD", "SOPS", "HOME"))]
    assert seen["descriptors"] == []
    assert seen["core"] == 0
    assert not [name for name in seen["modules"] if name.startswith(("agentsd.settings", "agentsd.store"))]


@pytest.mark.parametrize(
    ("function", "limits", "limit"),
    [
        (work.spin, CallLimits(cpu_seconds=0.2), "cpu"),
        (work.sleep, CallLimits(wall_seconds=0.3), "time"),
        (work.hoard, CallLimits(memory=200 << 20), "memory"),
    ],
)
def test_a_limit_ends_the_call_and_the_next_one_works(
    sandbox: Sandbox, function: object, limits: CallLimits, limit: str
) -> None:
    with pytest.raises(LimitExceeded) as caught:
        sandbox.call(function, limits=limits)  # type: ignore[arg-type]
    assert caught.value.limit == limit
    assert sandbox.call(work.echo, 1) == 1


def test_the_operator_bounds_memory_whatever_a_call_asks_for(sandbox: Sandbox) -> None:
    sandbox.memory_max = 200 << 20
    with pytest.raises(LimitExceeded, match="200 MiB of memory"):
        sandbox.call(work.hoard, limits=CallLimits(memory=4 << 30))


def test_output_and_input_are_bounded(sandbox: Sandbox) -> None:
    small = CallLimits(input_bytes=1000, output_bytes=1000)
    with pytest.raises(LimitExceeded) as caught:
        sandbox.call(work.flood, 1001, limits=small)
    assert caught.value.limit == "output"
    with pytest.raises(LimitExceeded) as caught:
        sandbox.call(work.echo, bytes(1001), limits=small)
    assert caught.value.limit == "input"


def test_cpu_time_is_counted_by_call(sandbox: Sandbox) -> None:
    pids = set()
    for _ in range(4):  # together more than one call may have
        sandbox.call(work.spin, 0.4)
        pids.add(sandbox.call(os.getpid))
    assert len(pids) == 1


def test_a_crash_is_an_error_of_that_call_alone(sandbox: Sandbox) -> None:
    with pytest.raises(WorkerFailed):
        sandbox.call(work.crash)
    assert sandbox.call(work.echo, 1) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 9,  # no kind
        b"v" + (1 << 62).to_bytes(8, "big"),  # a size that would take all memory
        b"v" + (3).to_bytes(8, "big") + b"{]}",  # not JSON
        b"k" + (2).to_bytes(8, "big") + b"{}",  # an error without a type
        b"k" + (2).to_bytes(8, "big") + b"[]",
        b"f" + (3).to_bytes(8, "big") + b"a b",  # not the name of a type
    ],
)
def test_garbage_from_a_worker_is_refused_and_it_is_replaced(sandbox: Sandbox, garbage: bytes) -> None:
    pid = sandbox.call(os.getpid)
    with pytest.raises((WorkerFailed, LimitExceeded)):
        sandbox.call(work.answer_garbage, garbage)
    assert sandbox.call(os.getpid) != pid


def test_a_pickle_from_a_worker_is_never_loaded(sandbox: Sandbox, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    pickled = f"cos\nsystem\n(S'touch {proof}'\ntR.".encode()
    for kind in (b"v", b"k", b"f"):
        frame = kind + len(pickled).to_bytes(8, "big") + pickled
        with pytest.raises(WorkerFailed):
            sandbox.call(work.answer_garbage, frame)
    assert not proof.exists()


def test_a_foreign_exception_comes_back_as_its_type_alone(sandbox: Sandbox) -> None:
    with pytest.raises(FunctionFailed) as caught:
        sandbox.call(work.fail)
    assert caught.value.kind == "LookupError"
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def test_our_own_error_comes_back_whole(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match="this is ours") as caught:
        sandbox.call(work.refuse)
    assert caught.value.hint == "mend it"


def test_a_worker_writes_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(FunctionFailed):
        sandbox.call(work.write, str(tmp_path / "x"))
    assert not (tmp_path / "x").exists() or not (tmp_path / "x").read_bytes()


def test_calls_of_threads_share_the_workers(sandbox: Sandbox) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(sandbox.call(work.echo, n))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


def test_a_full_queue_refuses() -> None:
    sandbox = Sandbox(CallLimits(wall_seconds=5), workers=1, queue=1)

    async def crowd() -> list[object]:
        calls = [sandbox.run(time.sleep, 0.2) for _ in range(6)]
        return await asyncio.gather(*calls, return_exceptions=True)

    try:
        found = asyncio.run(crowd())
    finally:
        sandbox.close()
    refused = [one for one in found if isinstance(one, LimitExceeded)]
    assert refused
    assert {one.limit for one in refused} == {"queue"}
    assert None in found


def test_one_key_leaves_a_worker_to_others() -> None:
    sandbox = Sandbox(CallLimits(wall_seconds=10), workers=2)

    async def race() -> bool:
        hostile = [asyncio.create_task(sandbox.run(time.sleep, 1.0, key="acme")) for _ in range(3)]
        await asyncio.sleep(0.1)
        await sandbox.run(work.echo, 1, key="beta")
        return not any(one.done() for one in hostile)

    try:
        assert asyncio.run(race())
    finally:
        sandbox.close()


_PARENT = """
import sys, threading, time
from agentsd.sandbox.pool import Sandbox
from tests.sandbox import work
import os
sandbox = Sandbox()
print(sandbox.call(os.getpid), flush=True)
if sys.argv[1] == "busy":
    threading.Thread(target=sandbox.call, args=(work.spin,), daemon=True).start()
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_end_with_a_parent_that_is_killed(state: str) -> None:
    command = [sys.executable, "-c", _PARENT, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    deadline = time.monotonic() + 10
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(worker)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children() -> set[str]:
    """Return the child processes of this thread, those that ended and were not waited for included."""
    return set(Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split())


def test_no_zombies_stay(sandbox: Sandbox) -> None:
    before = _children()
    for _ in range(3):
        with pytest.raises(WorkerFailed):
            sandbox.call(work.crash)
    sandbox.close()
    assert _children() <= before


async def test_a_cancelled_call_frees_its_worker_at_once(sandbox: Sandbox) -> None:
    """Nobody waits for a hostile file that was removed meanwhile; the only worker is free for the next."""
    long = CallLimits(cpu_seconds=60.0, wall_seconds=60.0)
    running = asyncio.create_task(sandbox.run(work.spin, 30.0, limits=long, key="a"))
    while not sandbox._running:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(sandbox.run(work.spin, 30.0, limits=long, key="a"))
    await asyncio.sleep(0)
    for task in (waiting, running):
        task.cancel()
    await asyncio.wait({waiting, running})
    assert await sandbox.run(work.echo, 7, limits=long, key="a") == 7


def test_a_worker_has_less_priority_than_its_server_whatever_that_has() -> None:
    """A server that was started with a lower priority of its own, too."""
    code = (
        "import os; from agentsd.sandbox.pool import Sandbox; os.nice(3); "
        "print(Sandbox().call(os.getpriority, os.PRIO_PROCESS, 0) - os.getpriority(os.PRIO_PROCESS, 0))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(result.stdout) == 10
