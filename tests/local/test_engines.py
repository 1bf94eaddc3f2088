"""Models in memory, with a stand-in for the model: loading, sharing, cancelling, freeing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentsd.providers.base import ProviderTimeout, ProviderUnavailable
from agentsd.providers.faults import Who
from agentsd.providers.local.engines import Claim, Emit, Engines, preloaded

WHO = Who("test.local", "llm")


class Model:
    """Counts its lives; its work waits for a gate."""

    def __init__(self) -> None:
        self.closed = 0
        self.started = threading.Event()
        self.gate = threading.Event()
        self.ran: list[str] = []

    def work(self, name: str) -> str:
        """Waits, then answers."""
        self.started.set()
        self.gate.wait(10)
        self.ran.append(name)
        return name

    def close(self) -> None:
        """Counts."""
        self.closed += 1


class Shelf:
    """Where models come from."""

    def __init__(self, *, failures: int = 0) -> None:
        self.models: list[Model] = []
        self.failures = failures
        self.engines = Engines()

    def load(self) -> Model:
        """A new one, off the event loop's thread."""
        assert threading.current_thread() is not threading.main_thread()
        if self.failures:
            self.failures -= 1
            raise OSError("secret /path")
        self.models.append(Model())
        return self.models[-1]

    def claim(self, *, threads: int = 1, timeout: float = 10.0) -> Claim[Model]:
        """On the one model of the shelf."""
        return self.engines.claim(WHO, "m", self.load, threads=threads, timeout=timeout)


async def test_loaded_once_freed_with_the_last() -> None:
    """Claims share one model, loaded at the first work; the last release frees it, a new claim loads anew."""
    shelf = Shelf()
    one, two = shelf.claim(threads=2), shelf.claim(threads=2)
    assert shelf.models == []
    models = await asyncio.gather(one.run(lambda model: model), two.run(lambda model: model))
    assert models[0] is models[1]
    await one.release()
    await one.release()
    assert models[0].closed == 0
    await two.release()
    assert (models[0].closed, shelf.engines.holders()) == (1, {})
    three = shelf.claim()
    await three.run(lambda model: model)
    assert len(shelf.models) == 2
    await shelf.engines.aclose()
    assert shelf.models[1].closed == 1
    await three.release()


async def test_a_failed_load_is_told_and_tried_again() -> None:
    """A library's failure becomes our own error, without its text; the next request loads anew."""
    shelf = Shelf(failures=1)
    claim = shelf.claim()
    with pytest.raises(ProviderUnavailable) as caught:
        await claim.run(lambda model: model)
    assert "secret" not in str(caught.value)
    assert isinstance(await claim.run(lambda model: model), Model)
    await claim.release()


async def test_work_that_waits_is_dropped_when_cancelled() -> None:
    """One thread: what waits for it and is cancelled never runs; what runs goes on, unheard."""
    shelf = Shelf()
    claim = shelf.claim()
    model = await claim.run(lambda model: model)
    running = asyncio.create_task(claim.run(lambda model: model.work("running")))
    waiting = asyncio.create_task(claim.run(lambda model: model.work("waiting")))
    await asyncio.to_thread(model.started.wait)
    for task in (running, waiting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    model.gate.set()
    assert await claim.run(lambda model: model.work("next")) == "next"
    assert model.ran == ["running", "next"]
    await claim.release()


async def test_a_closed_stream_stops_its_work() -> None:
    """Work learns at its next part that nobody listens, and its thread is free again."""
    shelf, ended = Shelf(), asyncio.Event()
    loop, claim = asyncio.get_running_loop(), shelf.claim()

    def endless(_model: Model, emit: Emit[int]) -> None:
        count = 0
        while not emit(count):
            count += 1
        loop.call_soon_threadsafe(ended.set)

    stream = claim.stream(endless)
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    await stream.aclose()
    await ended.wait()
    await claim.release()


async def test_a_stream_ends_as_its_work_does() -> None:
    """All parts in order, then the end; or the failure, in our own words."""
    shelf = Shelf()
    claim = shelf.claim()

    def three(_model: Model, emit: Emit[int]) -> None:
        for number in range(3):
            emit(number)

    def fails(_model: Model, emit: Emit[int]) -> None:
        emit(1)
        raise RuntimeError("prompt")

    assert [part async for part in claim.stream(three)] == [0, 1, 2]
    stream = claim.stream(fails)
    assert await anext(stream) == 1
    with pytest.raises(ProviderUnavailable, match="RuntimeError"):
        await anext(stream)
    await claim.release()


async def test_a_model_that_stalls_is_a_timeout() -> None:
    """Nothing hangs: a part that does not come in time is a typed error that names the field."""
    shelf = Shelf()
    claim = shelf.claim(timeout=0.05)
    model = await claim.run(lambda model: model)
    with pytest.raises(ProviderTimeout) as caught:
        await claim.run(lambda model: model.work("slow"))
    assert "llm.timeout_seconds" in caught.value.hint
    model.gate.set()
    await claim.release()


async def test_releasing_under_running_work() -> None:
    """A claim given up under its streams stops them; asking afterwards is an error, not a hang."""
    shelf = Shelf()
    claim = shelf.claim()

    def endless(_model: Model, emit: Emit[int]) -> None:
        while not emit(0):
            pass

    stream = claim.stream(endless)
    await anext(stream)
    await claim.release()
    assert shelf.models[0].closed == 1
    with pytest.raises(ProviderUnavailable):
        await claim.run(lambda model: model)
    claim.later(lambda model: model.work("never"))
    await stream.aclose()


async def test_preloading() -> None:
    """``preload`` loads before the first request; a failure shows at the first use only."""
    shelf = Shelf(failures=1)
    claim = shelf.claim()
    preloaded(claim, wanted=False)
    preloaded(claim, wanted=True)
    preloaded(claim, wanted=True)
    await claim.run(lambda model: model)
    assert (shelf.failures, len(shelf.models)) == (0, 1)
    await claim.release()
