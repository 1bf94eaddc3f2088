"""Activity of an agent as clients see it: totals, and points for a plot; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from agentsd.core.ledger.failure import TEXTS, make_cause
from agentsd.core.ledger.histogram import BUCKETS, add_counts, estimate_quantile
from agentsd.store.ledger.activity import ERRORS_SHOWN, ActivityRow
from agentsd.store.ledger.health import HealthRow
from agentsd.web.http.reply import Count
from agentsd.web.views.statuses import StatusReply

ActivityRange = Literal["1h", "24h", "7d"]


@dataclass(frozen=True, slots=True)
class ActivitySpan:
    """Span of a range, and the width of its points."""

    length: timedelta
    step: timedelta


SPANS: Mapping[ActivityRange, ActivitySpan] = {
    "1h": ActivitySpan(timedelta(hours=1), timedelta(minutes=1)),
    "24h": ActivitySpan(timedelta(hours=24), timedelta(minutes=15)),
    "7d": ActivitySpan(timedelta(days=7), timedelta(hours=1)),
}
RANGES: tuple[ActivityRange, ...] = ("1h", "24h", "7d")
Milliseconds = Annotated[int | None, Field(ge=0, description="Milliseconds; null where nothing came.")]


@dataclass(frozen=True)
class ActivityPoint:
    """Turns that ended within `step_seconds` from `at` on."""

    at: datetime
    turns: Count
    failed: Count
    first_token_p95_ms: Milliseconds
    first_sound_p95_ms: Milliseconds


@dataclass(frozen=True)
class QuantilesReply:
    """Times from the end of a question, or of speech, to the first token or sound."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds


@dataclass(frozen=True)
class TurnErrorReply:
    """Failure of a turn, with what to do. The text is this server's own."""

    at: datetime | None
    error: Annotated[str, Field(description="Its class, for programs.")]
    reason: str
    provider: str
    message: str
    fix: str
    field: str
    version: Annotated[int, Field(description="The version of the agent that failed.")]


@dataclass(frozen=True)
class LastTestReply:
    """Outcome of the latest test of the agent."""

    ok: bool
    at: datetime
    version: int
    message: str
    fix: str


@dataclass(frozen=True)
class ActivityReply:
    """Activity of an agent in a range of time."""

    range: ActivityRange
    since: datetime
    step_seconds: int
    complete: Annotated[bool, Field(description="False: Postgres is away, so other replicas are missing.")]
    status: StatusReply
    turns: Count
    failed: Count
    failures: Annotated[dict[str, int], Field(description="Failed turns by the class of their error.")]
    first_token: QuantilesReply
    first_sound: QuantilesReply
    points: list[ActivityPoint]
    last_errors: Annotated[list[TurnErrorReply], Field(description="The latest first.")]
    last_test: LastTestReply | None


def find_start(span: ActivitySpan, now: datetime) -> datetime:
    """Return when the first point of a range begins."""
    step = span.step.total_seconds()
    aligned = datetime.fromtimestamp(now.timestamp() // step * step, UTC)
    return aligned - span.length + span.step


def make_activity_reply(
    span_name: ActivityRange,
    now: datetime,
    rows: Sequence[ActivityRow],
    status: StatusReply,
    test: HealthRow | None,
    slug: str,
    *,
    complete: bool,
) -> ActivityReply:
    """Return the activity of one agent from its minutes, in any order."""
    span = SPANS[span_name]
    start = find_start(span, now)
    kept = [row for row in rows if row.minute >= start]
    failures: Counter[str] = Counter()
    for row in kept:
        failures.update(row.failures)
    return ActivityReply(
        range=span_name,
        since=start,
        step_seconds=int(span.step.total_seconds()),
        complete=complete,
        status=status,
        turns=sum(row.turns for row in kept),
        failed=sum(row.failed for row in kept),
        failures=dict(failures.most_common()),
        first_token=_make_quantiles(row.first_token for row in kept),
        first_sound=_make_quantiles(row.first_sound for row in kept),
        points=_make_points(span, start, kept),
        last_errors=_list_errors(kept, slug),
        last_test=_make_test(test, slug),
    )


def _sum_histograms(histograms: Iterable[Sequence[int]]) -> Sequence[int]:
    total: Sequence[int] = [0] * BUCKETS
    for one in histograms:
        total = add_counts(total, one)
    return total


def _make_quantiles(histograms: Iterable[Sequence[int]]) -> QuantilesReply:
    total = _sum_histograms(histograms)
    return QuantilesReply(estimate_quantile(total, 0.5), estimate_quantile(total, 0.95))


def _make_points(span: ActivitySpan, start: datetime, rows: Sequence[ActivityRow]) -> list[ActivityPoint]:
    count = int(span.length / span.step)
    slots: list[list[ActivityRow]] = [[] for _ in range(count)]
    for row in rows:
        at = int((row.minute - start) / span.step)
        if at < count:
            slots[at].append(row)
    return [
        ActivityPoint(
            start + span.step * at,
            sum(row.turns for row in slot),
            sum(row.failed for row in slot),
            estimate_quantile(_sum_histograms(row.first_token for row in slot), 0.95),
            estimate_quantile(_sum_histograms(row.first_sound for row in slot), 0.95),
        )
        for at, slot in enumerate(slots)
    ]


def _list_errors(rows: Sequence[ActivityRow], slug: str) -> list[TurnErrorReply]:
    found = [(row.minute, row.error) for row in rows if row.error is not None]
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [make_error_reply(error, slug) for _, error in found[:ERRORS_SHOWN]]


def make_error_reply(error: Mapping[str, Any], slug: str) -> TurnErrorReply:
    """Return a failed turn as it was kept: of what is stored, only words of fixed lists become text."""
    at, version = _parse_moment(error.get("at")), error.get("version")
    number = version if isinstance(version, int) else 0
    name = str(error.get("error", ""))
    reason = error.get("reason")
    if reason not in TEXTS:
        return TurnErrorReply(at, name, "", "", "the turn failed", "see the server's log", "", number)
    kind, provider, code = str(error.get("kind", "")), str(error.get("provider", "")), error.get("code")
    cause = make_cause(kind, provider, str(reason), code if isinstance(code, str) else None, slug, at)
    return TurnErrorReply(at, name, cause.reason, provider, cause.message, cause.fix, cause.field, number)


def _parse_moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _make_test(row: HealthRow | None, slug: str) -> LastTestReply | None:
    if row is None:
        return None
    if not row.failing:
        return LastTestReply(True, row.since, row.version, "every provider answered", "")
    cause = row.describe(slug).cause
    message, fix = (cause.message, cause.fix) if cause else ("", "")
    return LastTestReply(False, row.since, row.version, message, fix)
