"""The seam of turns: what noting a chat's turn costs a request, with counters only, and with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from agentsd.providers.meter import MeteredClient, note_tokens
from agentsd.providers.resilience.attempts import note_answer, open_attempts
from agentsd.runtime.agents.fallback import make_fallback_agent
from agentsd.services.ledger.ledger import Ledger
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.store.database import Database
from agentsd.telemetry import Metrics
from agentsd.web.openai.chat_turn import ChatTurn
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.runtime.leases import NoLeases

USAGE = {"prompt_tokens": 9, "completion_tokens": 5}
CHUNKS: Sequence[dict[str, Any]] = [
    *({"choices": [{"index": 0, "delta": {"content": "word "}}]} for _ in range(5)),
    {"choices": [], "usage": USAGE},
]
CLIENT = MeteredClient("llm", "openai.com", "gpt-4o", "https://api.openai.com")
WARM_UP = 100
FLUSH_TURNS = 100


def run(scale: Scale) -> Sequence[Figure]:
    """The seam of turns: the record of a chat, with counters only, and with the ledger."""
    count = scale.samples * 10 + WARM_UP
    bare = _measure(TurnSinks(Metrics()), count)
    ledger, sinks = _make_ledger(), TurnSinks(Metrics())
    sinks.count("ledger", ledger.count)
    asyncio.run(ledger.prices.learn([CLIENT]))
    sums: list[float] = []
    kept = _measure(sinks, count, lambda: sums.append(_time(lambda: _add_up(ledger))))
    summed = sum(sums) / count
    return [
        Figure("turn of a chat, noted, p50", p50(bare), "µs", 20),
        Figure("  p99", p99(bare), "µs"),
        Figure("turn of a chat, noted and counted by the ledger, p50", p50(kept), "µs"),
        Figure("  p99", p99(kept), "µs"),
        Figure("  added up and priced, before it is written", summed, "µs"),
        Figure(
            "chat's added time with the ledger, of without",
            1 + (p50(kept) - p50(bare) + summed) / 1200,
            "×",
            1.3,
        ),
    ]


def _add_up(ledger: Ledger) -> None:
    for _ in range(ledger.usage.chunks()):
        ledger.usage.add_up()
    assert ledger.usage.take(ledger.prices)


def _make_ledger() -> Ledger:
    return Ledger(Database("postgresql://x@127.0.0.1:1/x"), NoLeases(), Metrics(), version_of=lambda _: 1)


def _measure(sinks: TurnSinks, count: int, flush: Callable[[], None] = lambda: None) -> list[float]:
    """Return the microseconds of each turn, after the first ones; ``flush`` after every few."""
    agent, spent = make_fallback_agent(), []

    def note() -> None:
        with open_attempts() as attempts:
            turn = ChatTurn(agent, "chat", "conv_1", attempts)
            note_answer("llm", "openai.com")
            for chunk in CHUNKS:
                turn.take(chunk)
            note_tokens(CLIENT, USAGE)
            sinks.put(turn.make_record())

    for number in range(1, count + 1):
        spent.append(_time(note))
        if number % FLUSH_TURNS == 0:
            flush()
    return spent[WARM_UP:]


def _time(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return (perf_counter() - started) * 1e6


if __name__ == "__main__":
    main(run)
