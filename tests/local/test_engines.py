"""Engines in processes of their own, with a stand-in for the model: sharing, cancelling, crashing, bounds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.base import ProviderRejected, ProviderTimeout, ProviderUnavailable
from agentsd.providers.errors import VendorRef
from agentsd.providers.local import pool, process
from agentsd.providers.local.engines import EngineClaim, Engines, preload_engine
from agentsd.providers.local.spec import EngineSpec

WHO = VendorRef("test.local", "llm")
MODULE = "tests.local.stand_in"


class Shelf:
    """Engines, and claims on them."""

    def __init__(self, tmp_path: Path, limits: EngineLimits) -> None:
        self.engines = Engines(limits)
        self.log = tmp_path / "loads"

    def claim(
        self, *, name: str = "m", owner: str = "default", threads: int = 1, timeout: float = 20.0, **how: Any
    ) -> EngineClaim:
        """On the model called ``name``."""
        settings = {"name": name, "log": str(self.log), **how}
        spec = EngineSpec.of(WHO.vendor, MODULE, settings, threads)
        return self.engines.of(owner).claim(WHO, spec, timeout=timeout)

    def loads(self) -> list[int]:
        """Processes that began to load, in order."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


@pytest.fixture
def limits() -> EngineLimits:
    """What the operator allows."""
    return EngineLimits()


@pytest.fixture
async def shelf(tmp_path: Path, limits: EngineLimits) -> AsyncIterator[Shelf]:
    """Engines that leave no process behind."""
    shelf = Shelf(tmp_path, limits)
    yield shelf
    await shelf.engines.aclose()
    assert [pid for pid in shelf.loads() if exists(pid)] == []


def exists(pid: int) -> bool:
    """Whether there is a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()


async def process_of(claim: EngineClaim) -> int:
    """The process that answers."""
    (part,) = await claim.run("echo", {})
    return int(part.fields["pid"])


async def test_started_once_ended_with_the_last(shelf: Shelf) -> None:
    """Claims share one process, started at the first request and ended with the last release."""
    one, two = shelf.claim(), shelf.claim()
    assert shelf.loads() == []
    pids = await asyncio.gather(process_of(one), process_of(two))
    assert pids[0] == pids[1] != os.getpid()
    await one.release()
    await one.release()
    assert exists(pids[0])
    await two.release()
    assert not exists(pids[0])
    assert shelf.engines.holders() == {}
    three = shelf.claim()
    assert await process_of(three) != pids[0]
    await three.release()


async def test_bodies_of_any_size_in_both_directions(shelf: Shelf) -> None:
    """What is sent comes back whole: nothing, odd sizes, megabytes, any text."""
    claim = shelf.claim()
    for size in (0, 1, 65_537, 3 << 20):
        body = os.urandom(size)
        (part,) = await claim.run("echo", {"text": 'ü"\n\0'}, body)
        assert (part.body, part.fields["text"]) == (body, 'ü"\n\0')
    await claim.release()


async def test_a_failed_load_is_told_and_tried_again(shelf: Shelf) -> None:
    """A library's failure becomes our own error, without its text; the next request loads anew."""
    claim = shelf.claim(load="fail once")
    with pytest.raises(ProviderUnavailable) as caught:
        await claim.run("echo", {})
    assert "secret" not in str(caught.value)
    assert "llm.model_path" in caught.value.hint
    await process_of(claim)
    await claim.release()


@pytest.mark.parametrize("how", ["fail", "abort"])
async def test_a_model_that_never_loads_rests_between_tries(shelf: Shelf, how: str) -> None:
    """However many ask, it is tried a few times only; others' models answer meanwhile."""
    claim, other = shelf.claim(load=how), shelf.claim(name="good", log="")
    messages = set()
    for _ in range(30):
        with pytest.raises(ProviderUnavailable) as caught:
            await claim.run("echo", {})
        messages.add(caught.value.message)
        await process_of(other)
    assert len(shelf.loads()) <= 3
    assert any("times in a row" in message for message in messages)
    await claim.release()
    await other.release()


async def test_a_crash_fails_what_was_asked_and_no_more(shelf: Shelf) -> None:
    """A process that aborts in mid-answer: a typed error for all in flight; the next request is answered."""
    claim = shelf.claim(threads=2)
    before = await process_of(claim)
    endless = claim.stream("count", {})
    await anext(endless)
    stream = claim.stream("abort", {})
    assert (await anext(stream)).fields == {"number": 1}
    for left in (stream, endless):
        with pytest.raises(ProviderUnavailable, match="ended unexpectedly"):
            async for _ in left:
                pass
    assert await process_of(claim) != before
    assert not exists(before)
    await claim.release()


async def test_killed_from_outside(shelf: Shelf) -> None:
    """``kill -9`` within a request and between two: one request fails at most, the next is answered."""
    claim = shelf.claim()
    for _ in range(3):
        pid = await process_of(claim)
        stream = claim.stream("count", {})
        await anext(stream)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ProviderUnavailable):
            async for _ in stream:
                pass
        os.kill(await process_of(claim), signal.SIGKILL)
        with suppress(ProviderUnavailable):
            await process_of(claim)
    await claim.release()


async def test_work_that_waits_is_dropped_when_cancelled(shelf: Shelf, tmp_path: Path) -> None:
    """One thread: what waits for it and is cancelled never runs; what runs goes on, unheard."""
    claim, gate = shelf.claim(), tmp_path / "gate"
    await process_of(claim)
    wait = {"file": str(gate), "name": "x"}
    tasks = [asyncio.create_task(claim.run("gate", wait)) for _ in range(2)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    gate.touch()
    await process_of(claim)
    await claim.release()


async def test_a_closed_stream_stops_its_work(shelf: Shelf) -> None:
    """Work learns at its next part that nobody listens, and its thread is free again."""
    claim = shelf.claim()
    stream = claim.stream("count", {})
    assert [(await anext(stream)).fields["number"] for _ in range(3)] == [0, 1, 2]
    await stream.aclose()
    await process_of(claim)
    await claim.release()


async def test_a_stream_ends_as_its_work_does(shelf: Shelf) -> None:
    """All parts in order, then the end; or the failure, in our own words."""
    claim = shelf.claim()
    parts = [part.fields["number"] async for part in claim.stream("count", {"to": 300})]
    assert parts == list(range(300))
    stream = claim.stream("fail", {})
    assert (await anext(stream)).fields == {"number": 1}
    with pytest.raises(ProviderUnavailable, match="RuntimeError"):
        await anext(stream)
    await claim.release()


async def test_a_refusal_is_the_providers_own_error(shelf: Shelf) -> None:
    """A code becomes the error that the provider made for it; only plain words are quoted."""
    spec = EngineSpec.of(WHO.vendor, MODULE, {})
    known = {"too_long": ProviderRejected("too long")}
    claim = shelf.engines.claim(WHO, spec, refusal=known.get)
    with pytest.raises(ProviderRejected, match="too long"):
        await claim.run("refuse", {"code": "too_long"})
    for code in ("sk-1234 secret", "x" * 999, "é"):
        with pytest.raises(ProviderUnavailable) as caught:
            await claim.run("refuse", {"code": code})
        assert code not in str(caught.value)
    await claim.release()


async def test_a_model_that_stalls_is_a_timeout(shelf: Shelf, tmp_path: Path) -> None:
    """Nothing hangs: a part that does not come in time is a typed error that names the field."""
    patient, claim = shelf.claim(), shelf.claim(timeout=0.05)
    await process_of(patient)
    with pytest.raises(ProviderTimeout) as caught:
        await claim.run("gate", {"file": str(tmp_path / "never"), "name": "x"})
    assert "llm.timeout_seconds" in caught.value.hint
    await claim.release()
    await patient.release()


@pytest.mark.parametrize("how", ["hangs", "frozen"])
async def test_a_stuck_process_is_replaced(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Work that nobody waits for and that does not end, or a process that does nothing at all, is ended."""
    monkeypatch.setattr(process, "STUCK_SECONDS", 0.05)
    patient, claim = shelf.claim(), shelf.claim(timeout=0.2)
    pid = await process_of(patient)
    if how == "frozen":
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProviderTimeout):
        await claim.run("gate", {"file": "/nowhere", "name": ""})
    while exists(pid):
        await asyncio.sleep(0.01)
    assert await process_of(patient) != pid
    await claim.release()
    await patient.release()


async def test_a_load_that_hangs_is_ended(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a library reads for ever: a typed error, and no process left."""
    monkeypatch.setattr(process, "LOAD_TIMEOUT_SECONDS", 0.5)
    claim = shelf.claim(load="hang")
    with pytest.raises(ProviderTimeout):
        await claim.run("echo", {})
    assert not any(exists(pid) for pid in shelf.loads())
    await claim.release()


async def test_releasing_under_running_work(shelf: Shelf) -> None:
    """A claim given up under its streams stops them; asking afterwards is an error, not a hang."""
    claim = shelf.claim()
    stream = claim.stream("count", {})
    await anext(stream)
    await claim.release()
    assert not exists(shelf.loads()[0])
    with pytest.raises(ProviderUnavailable):
        async for _ in stream:
            pass
    with pytest.raises(ProviderUnavailable):
        await claim.run("echo", {})
    claim.later("echo", {})
    await stream.aclose()


async def test_releasing_a_model_that_loads(shelf: Shelf) -> None:
    """A load that hangs does not hold up its release; who waited for it gets an error."""
    claim = shelf.claim(load="hang")
    waiting = asyncio.create_task(claim.run("echo", {}))
    while not shelf.loads():
        await asyncio.sleep(0.01)
    await claim.release()
    with pytest.raises(ProviderUnavailable):
        await waiting
    assert not exists(shelf.loads()[0])


async def test_preloading(shelf: Shelf) -> None:
    """``preload`` loads before the first request; a failure shows at the first use only."""
    claim, bad = shelf.claim(), shelf.claim(name="bad", load="fail")
    preload_engine(claim, wanted=False)
    for each in (claim, bad):
        preload_engine(each, wanted=True)
        preload_engine(each, wanted=True)
    while not shelf.engines.loaded():
        await asyncio.sleep(0.01)
    await process_of(claim)
    with pytest.raises(ProviderUnavailable):
        await bad.run("echo", {})
    await claim.release()
    await bad.release()


NOISE = ("ffffffff00000000", "0000000200000000" + b"[]".hex(), "0000000500000000" + b"{bad}".hex(), "00" * 8)


@pytest.mark.parametrize("noise", NOISE)
async def test_what_is_not_a_frame_ends_the_process(shelf: Shelf, noise: str) -> None:
    """Lengths beyond the bound, other JSON, none at all: a typed error, and the next request is answered."""
    claim = shelf.claim()
    with pytest.raises(ProviderUnavailable, match="ended unexpectedly"):
        await claim.run("noise", {"hex": noise})
    await process_of(claim)
    await claim.release()


async def test_an_answer_that_nobody_takes_is_given_up(shelf: Shelf) -> None:
    """A process that floods its reader fills no memory: that answer fails, others go on."""
    claim = shelf.claim(threads=2)
    stream = claim.stream("flood", {})
    await anext(stream)
    for _ in range(100):
        await process_of(claim)
    await asyncio.sleep(0.3)
    with pytest.raises(ProviderUnavailable, match="unread_answer"):
        async for _ in stream:
            pass
    await process_of(claim)
    await claim.release()


async def test_what_a_process_gets(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of the environment, and no file of the server but its channel."""
    for name in (
        "AGENTSD_DATABASE_URL",
        "SOPS_AGE_KEY",
        "VAULT_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
    ):
        monkeypatch.setenv(name, "canary")
    claim = shelf.claim()
    with (shelf.log.parent / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        (part,) = await claim.run("environment", {})
    assert not [
        name for name in part.fields["names"] if any(s in name for s in ("AGENTSD", "KEY", "TOKEN", "PG"))
    ]
    files = [name for name in part.fields["files"] if name != "/dev/null" and not name.startswith("/proc/")]
    assert [name.partition(":")[0] for name in files] == ["socket"]
    await claim.release()


@pytest.mark.parametrize("limits", [EngineLimits(memory=128 << 20)])
async def test_memory_of_one_engine(shelf: Shelf) -> None:
    """A model that states too great a need is never loaded; one that grows fails alone."""
    big, claim = shelf.claim(name="big", need=3 << 30), shelf.claim()
    with pytest.raises(ProviderUnavailable, match=r"needs about 3\.0 GiB of memory.* 128 MiB") as caught:
        await big.run("echo", {})
    assert "AGENTSD_ENGINE_MEMORY" in caught.value.hint
    for _ in range(5):  # also while it rests
        with pytest.raises(ProviderUnavailable, match=r"needs about 3\.0 GiB"):
            await big.run("echo", {})
    assert shelf.loads() == []
    with pytest.raises(ProviderUnavailable, match="MemoryError"):
        await claim.run("grow", {"mib": 1024})
    await process_of(claim)
    await big.release()
    await claim.release()


@pytest.mark.parametrize("limits", [EngineLimits(memory=1 << 30, total_memory=2 << 30)])
async def test_memory_of_all_engines(shelf: Shelf, tmp_path: Path) -> None:
    """The idle ones make room, the longest unused first; where all are busy, one more is refused."""
    a, b, c = (shelf.claim(name=name, need=900 << 20) for name in "abc")
    pids = [await process_of(claim) for claim in (a, b)]
    await process_of(a)
    await process_of(c)
    assert await process_of(a) == pids[0]
    while exists(pids[1]):
        await asyncio.sleep(0.01)
    streams = [claim.stream("count", {}) for claim in (a, c)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(ProviderUnavailable) as caught:
        await b.run("echo", {})
    assert "AGENTSD_ENGINES_MEMORY" in caught.value.hint
    for stream in streams:
        await stream.aclose()
    for claim in (a, b, c):
        await claim.release()


@pytest.mark.parametrize("limits", [EngineLimits(memory=1 << 30, total_memory=200 << 20)])
async def test_memory_that_grows_beyond_the_bound_of_all(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is measured while they run: the largest process ends, the other one goes on."""
    monkeypatch.setattr(pool, "WATCH_SECONDS", 0.05)
    small, large = shelf.claim(name="small"), shelf.claim(name="large")
    held, pid = await process_of(small), await process_of(large)
    with suppress(ProviderUnavailable):
        await large.run("grow", {"mib": 300})
    while exists(pid):
        await asyncio.sleep(0.01)
    assert await process_of(small) == held
    assert await process_of(large) != pid
    await small.release()
    await large.release()


@pytest.mark.parametrize("limits", [EngineLimits(engines=3, per_owner=2)])
async def test_engines_of_one_owner(shelf: Shelf) -> None:
    """An owner's third engine ends its own idle one, or is refused; another owner's goes on."""
    other = shelf.claim(name="other", owner="acme")
    held = await process_of(other)
    mine = [shelf.claim(name=name, owner="beta") for name in "abc"]
    for claim in mine * 2:
        await process_of(claim)
    assert await process_of(other) == held
    streams = [claim.stream("count", {}) for claim in mine[:2]]
    for stream in streams:
        await anext(stream)
    with pytest.raises(ProviderUnavailable) as caught:
        await mine[2].run("echo", {})
    assert "AGENTSD_ENGINES_PER_OWNER" in caught.value.hint
    assert await process_of(other) == held
    for stream in streams:
        await stream.aclose()
    for claim in (other, *mine):
        await claim.release()


@pytest.mark.parametrize("limits", [EngineLimits(shared=False)])
async def test_owners_apart(shelf: Shelf) -> None:
    """Where owners share no process, one's crash does not touch the other's answer."""
    acme, beta = shelf.claim(owner="acme"), shelf.claim(owner="beta")
    stream = acme.stream("count", {})
    await anext(stream)
    with pytest.raises(ProviderUnavailable):
        await beta.run("abort", {})
    for _ in range(100):
        await anext(stream)
    await stream.aclose()
    await acme.release()
    await beta.release()


ORPHAN = """
import asyncio, os, signal, sys
from agentsd.providers.errors import VendorRef
from agentsd.providers.local.engines import Engines
from agentsd.providers.local.spec import EngineSpec

async def main():
    claim = Engines().claim(VendorRef("a", "llm"), EngineSpec.of("a", "tests.local.stand_in", {}))
    (part,) = await claim.run("echo", {})
    print(part.fields["pid"], flush=True)
    stream = claim.stream("gate", {"file": "/nowhere", "name": ""})
    task = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_server_that_is_killed_leaves_no_engine() -> None:
    """``kill -9`` of the server, in the middle of an answer: its engines end with it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ORPHAN,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    output, _ = await child.communicate()
    pid = int(output)
    async with asyncio.timeout(20):
        while exists(pid) and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            await asyncio.sleep(0.01)
