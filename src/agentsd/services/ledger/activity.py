"""Activity of agents in memory, by the minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agentsd.core.ledger.histogram import BUCKETS, find_bucket
from agentsd.services.turn_records.record import TurnRecord
from agentsd.store.ledger.activity import ActivityRow

CLIENT_ERRORS = frozenset({"InvalidChat", "OptionRefused", "Problem"})
"""Errors of what a client asked, which say nothing about an agent."""
MINUTES_KEPT = 50_000
"""Minutes of agents that wait for a store that is away; then the oldest are dropped, and counted."""


@dataclass(slots=True)
class _Bucket:
    turns: int = 0
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    first_token: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    first_sound: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    error: Mapping[str, Any] | None = None


class ActivityBook:
    """Minutes that have not been written yet."""

    def __init__(self) -> None:
        self._open: dict[tuple[UUID, int], _Bucket] = {}

    def __len__(self) -> int:
        return len(self._open)

    def count(self, record: TurnRecord, now: float) -> None:
        """Count a turn that ended at ``now``, seconds since the epoch."""
        agent = record.agent
        if agent is None:
            return
        key = (agent.id, int(now) // 60)
        bucket = self._open.get(key)
        if bucket is None:
            bucket = self._open[key] = _Bucket()
        bucket.turns += 1
        times = record.times
        asked = times.speech_ended if times.speech_ended is not None else times.began
        if times.first_token is not None:
            bucket.first_token[find_bucket(times.first_token - asked)] += 1
        if times.first_sound is not None:
            bucket.first_sound[find_bucket(times.first_sound - asked)] += 1
        if record.error is not None and record.error not in CLIENT_ERRORS:
            _count_failure(bucket, record, now)

    def take_closed(self, now: float, *, everything: bool = False) -> list[ActivityRow]:
        """Return the minutes that have ended, or ``everything``, and forget them."""
        current = int(now) // 60
        done = [key for key in self._open if everything or key[1] < current]
        return [make_row(key, self._open.pop(key)) for key in done]

    def read(self, agent: UUID) -> list[ActivityRow]:
        """Return what of one agent has not been written yet."""
        return [make_row(key, bucket) for key, bucket in self._open.items() if key[0] == agent]

    def drop_oldest(self, limit: int = MINUTES_KEPT) -> int:
        """Drop what is beyond ``limit``, the oldest first. Return how many turns that were."""
        extra = len(self._open) - limit
        if extra <= 0:
            return 0
        oldest = sorted(self._open, key=lambda key: key[1])[:extra]
        return sum(self._open.pop(key).turns for key in oldest)


def _count_failure(bucket: _Bucket, record: TurnRecord, now: float) -> None:
    name = str(record.error)
    bucket.failed += 1
    bucket.failures[name] = bucket.failures.get(name, 0) + 1
    failure, agent = record.failure, record.agent
    bucket.error = {
        "error": name,
        "at": datetime.fromtimestamp(now, UTC).isoformat(),
        "version": agent.version if agent else 0,
        **(
            {
                "kind": failure.kind,
                "provider": failure.provider,
                "reason": failure.reason,
                "code": failure.code,
            }
            if failure
            else {}
        ),
    }


def make_row(key: tuple[UUID, int], bucket: _Bucket) -> ActivityRow:
    """Return a minute as a row."""
    return ActivityRow(
        key[0],
        datetime.fromtimestamp(key[1] * 60, UTC),
        bucket.turns,
        bucket.failed,
        dict(bucket.failures),
        tuple(bucket.first_token),
        tuple(bucket.first_sound),
        bucket.error,
    )
