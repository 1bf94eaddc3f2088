"""The seam of turns: what noting a chat's turn, with a counters sink, costs a request."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from agentsd.providers.resilience.attempts import note_answer, open_attempts
from agentsd.runtime.agents.fallback import make_fallback_agent
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.telemetry import Metrics
from agentsd.web.openai.chat_turn import ChatTurn
from tests.bench.report import Figure, Scale, main, p50, p99

CHUNKS: Sequence[dict[str, Any]] = [
    *({"choices": [{"index": 0, "delta": {"content": "word "}}]} for _ in range(5)),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
]


def run(scale: Scale) -> Sequence[Figure]:
    """The seam of turns: the record of a chat, with a counters sink only."""
    sinks, agent = TurnSinks(Metrics()), make_fallback_agent()
    spent = []
    for _ in range(scale.samples * 10 + 100):
        started = perf_counter()
        with open_attempts() as attempts:
            turn = ChatTurn(agent, "chat", "conv_1", attempts)
            note_answer("llm", "echo.local")
            for chunk in CHUNKS:
                turn.take(chunk)
            sinks.put(turn.make_record())
        spent.append((perf_counter() - started) * 1e6)
    warm = spent[100:]
    return [Figure("turn of a chat, noted, p50", p50(warm), "µs", 20), Figure("  p99", p99(warm), "µs")]


if __name__ == "__main__":
    main(run)
