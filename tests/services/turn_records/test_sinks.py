"""Sinks of turns: none delays or fails a turn, and what one did not get is counted."""

from __future__ import annotations

import asyncio

from agentsd.providers.meter import read_token_usage
from agentsd.services.turn_records.record import TurnRecord, TurnTimes
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.telemetry import Metrics

RECORD = TurnRecord("conv_1", "chat", None, TurnTimes(0.0), "answered")


async def test_a_sink_that_stands_still_delays_nothing() -> None:
    """Its queue is bounded; another sink gets everything, in order."""
    metrics, got = Metrics(), []
    sinks = TurnSinks(metrics)

    async def stuck(_: TurnRecord) -> None:
        await asyncio.Event().wait()

    async def quick(record: TurnRecord) -> None:
        got.append(record.conversation)

    sinks.add("stuck", stuck, limit=3)
    sinks.add("quick", quick)
    names = [f"conv_{number}" for number in range(10)]
    for name in names:
        sinks.put(TurnRecord(name, "call", None, TurnTimes(0.0), "unheard"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert got == names
    await sinks.aclose()
    value = metrics.registry.get_sample_value
    assert value("agentsd_turn_sink_dropped_total", {"sink": "stuck"}) == 9  # one was being taken
    assert value("agentsd_turns_total", {"channel": "call", "reason": "unheard"}) == 10


async def test_a_sink_that_fails_gets_the_next_turn() -> None:
    """A failure is one dropped turn."""
    metrics, got = Metrics(), []
    sinks = TurnSinks(metrics)

    async def fails_first(record: TurnRecord) -> None:
        got.append(record)
        if len(got) == 1:
            raise RuntimeError("no")

    sinks.add("flaky", fails_first)
    sinks.put(RECORD)
    sinks.put(RECORD)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(got) == 2
    assert metrics.registry.get_sample_value("agentsd_turn_sink_dropped_total", {"sink": "flaky"}) == 1
    await sinks.aclose()


def test_odd_usage_counts_as_nothing() -> None:
    """Vendors send all sorts of values."""
    assert read_token_usage(None) == (0, 0, 0)
    assert read_token_usage({"prompt_tokens": "7", "completion_tokens": -1}) == (0, 0, 0)
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    assert read_token_usage(usage) == (7, 2, 4)
