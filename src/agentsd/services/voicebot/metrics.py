"""Metrics of calls, beside the process's other metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from agentsd.telemetry import Metrics

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class VoiceMetrics:
    """Metrics of calls, made once for each ``Metrics``.

    Times are in seconds, from the end of the caller's speech.
    """

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.open = 0  # calls
        self._calls = Gauge("agentsd_calls", "Calls in progress.", registry=registry)
        self.refused = Counter(
            "agentsd_calls_refused", "Calls refused because as many as allowed were open.", registry=registry
        )
        self.answers = Counter("agentsd_call_answers", "Answers by outcome.", ["status"], registry=registry)
        self.barge_ins = Counter(
            "agentsd_call_barge_ins", "Answers that a caller interrupted by speaking.", registry=registry
        )
        self.eager_answers = Counter(
            "agentsd_call_eager_answers",
            "Answers that were begun before the caller had certainly finished.",
            ["outcome"],
            registry=registry,
        )
        self.eager_discarded_tokens = Counter(
            "agentsd_call_eager_discarded_tokens",
            "Tokens of such answers that were thrown away, estimated.",
            registry=registry,
        )
        self.first_token = Histogram(
            "agentsd_call_first_token_seconds",
            "Time to the first word of the answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_sound = Histogram(
            "agentsd_call_first_sound_seconds",
            "Time to the first audio of the answer.",
            buckets=_SECONDS,
            registry=registry,
        )

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call for as long as the context lasts."""
        self.open += 1
        self._calls.set(self.open)
        try:
            yield
        finally:
            self.open -= 1
            self._calls.set(self.open)
