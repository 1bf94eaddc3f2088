"""``agentsd status``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentsd.cli.compose.factories import load_settings, open_database, run
from agentsd.cli.output import get_stdout, print_json, print_lines
from agentsd.core.text.screen import ScreenEntry, ScreenSection, format_screen

if TYPE_CHECKING:
    from agentsd.control.status.overview import AgentStanding, DegradedAgent, FailingTask, Overview
    from agentsd.core.text.render import Line, Span
    from agentsd.settings import Settings
    from agentsd.store.leader_election import Leader
    from agentsd.store.queries.pulls import PullState
    from agentsd.store.queries.replicas import Replica
    from agentsd.store.queries.runs import ManifestCondition, SyncRun

T = TypeVar("T")

_ENTRIES_MAX = 12  # entries per section; --format json has all of them
_UNLIMITED_WIDTH = 1 << 20  # if it is not a terminal, nothing is wrapped

_OUTCOMES = {"applied": "ok", "unchanged": "none", "refused": "bad", "failed": "bad"}
_CONDITIONS = {"Ready": "ok", "Suspended": "none", "Orphaned": "warn"}
_STATUS_STYLES = {
    "Ready": "green",
    "Untested": "dim",
    "Suspended": "dim",
    "File refused": "red",
    "Failing": "red",
}


@click.command("status")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--runs", "limit", default=5, help="How many runs to show [5].")
@click.option(
    "--watch", "watching", is_flag=True, help="Keep watching: a live screen, or a line for each change."
)
def status_command(form: str, limit: int, watching: bool) -> None:
    """Show the state on one screen: leader, replicas, failing tasks, degraded agents, knowledge, runs.

    \b
    Examples:
      agentsd status
      agentsd status --format json
      agentsd status --watch
      agentsd status --watch --format json      one JSON document per line, for each change
    """
    if watching:
        from agentsd.cli.status_watch import watch_status

        run(watch_status(load_settings(), form, limit, format_overview))
        return
    found, place = run(_gather_overview(load_settings(), limit))
    if form == "json":
        print_json(make_overview_json(found, place))
        return
    width = shutil.get_terminal_size().columns if get_stdout().is_terminal else _UNLIMITED_WIDTH
    print_lines(get_stdout(), format_overview(found, place, width))


async def _gather_overview(settings: Settings, limit: int) -> tuple[Overview, str]:
    from agentsd.control.status.overview import load_overview

    async with open_database(settings, start=False) as database, database.transaction(snapshot=True) as conn:
        return await load_overview(conn, settings.source, runs_shown=limit), database.place


def make_overview_json(found: Overview, place: str) -> dict[str, Any]:
    """Return everything for machines, moments in ISO 8601."""
    body = asdict(found)
    for replica, one in zip(body["replicas"], found.replicas, strict=True):
        replica["silent_seconds"] = one.silent(found.now)
    plain: dict[str, Any] = _make_plain(
        {
            "place": place,
            **body,
            "failing_tasks": [asdict(one) for one in found.failing_tasks],
            "ailing": [asdict(one) for one in found.ailing],
        }
    )
    return plain


def _make_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def format_overview(found: Overview, place: str, width: int) -> Iterator[Line]:
    """Return the overview as lines for people."""
    counts = f"{found.agents} agents of {found.owners} owners"
    yield (("bold", f"version {found.version}"), ("", f"  {counts}"))
    yield from _format_statuses(found)
    yield (("dim", place if len(place) <= width else f"…{place[1 - width :]}"),)
    if found.read_only:
        yield (("yellow", "Postgres is read-only: nothing is applied until it accepts writes again"),)
    yield from format_screen(_make_sections(found), width)


def _format_statuses(found: Overview) -> Iterator[Line]:
    """Yield how many agents answer, in the words of the pages."""
    from agentsd.core.ledger.status import STATUS_WORDS

    spans: list[Span] = []
    for word in STATUS_WORDS:
        if count := found.statuses.get(word):
            spans.append((_STATUS_STYLES[word], f"{'  ' if spans else ''}{count} {word}"))
    if spans:
        yield tuple(spans)


def _format_standing(one: AgentStanding, now: datetime) -> ScreenEntry:
    since: list[Span] = [("dim", f"for {_format_span(one.since, now)}")] if one.since else []
    cells: list[Span] = [("red", one.status), *since, ("", one.message), ("", f"→ {one.fix}")]
    return ScreenEntry("bad", one.slug, tuple(cells))


def _make_sections(found: Overview) -> list[ScreenSection]:
    replicas = sorted(found.replicas, key=lambda one: _choose_mark(one, found) == "ok")
    serving = sum(_choose_mark(one, found) == "ok" for one in replicas)
    failing = found.failing_tasks
    ailing, unready = found.ailing, [one for one in found.conditions if one.type != "Ready"]
    return [
        _make_section("Leader", found.leaders, lambda one: _format_leader(one, found.now)),
        _make_section("Pulled", found.pulls, lambda one: _format_pull(one, found.now)),
        _make_section(
            f"Replicas: {serving} of {len(replicas)} healthy at version {found.version}",
            replicas,
            lambda one: _format_replica(one, found),
        ),
        _make_section(f"Failing background tasks: {len(failing)}", failing, _format_task),
        _make_section(
            f"Agents that need attention: {len(found.standing)}",
            found.standing,
            lambda one: _format_standing(one, found.now),
        ),
        _make_section(f"Degraded agents: {len(ailing)}", ailing, lambda one: _format_degraded(one, found)),
        _make_section(
            f"Manifests not ready: {len(unready)}", unready, lambda one: _format_condition(one, found.now)
        ),
        _make_section(
            f"Drifted, edited by hand: {len(found.drifted)}",
            found.drifted,
            lambda one: ScreenEntry("warn", one),
        ),
        ScreenSection("Knowledge", list(_format_knowledge(found))),
        _make_section("Runs", found.runs, lambda one: _format_run(one, found.now)),
    ]


def _make_section(title: str, found: Sequence[T], entry: Any) -> ScreenSection:
    return ScreenSection(
        title, [entry(one) for one in found[:_ENTRIES_MAX]], max(len(found) - _ENTRIES_MAX, 0)
    )


def _format_leader(one: Leader, now: datetime) -> ScreenEntry:
    if not one.leads:
        return ScreenEntry("warn", one.source, (("yellow", "none"), ("dim", f"last {one}")))
    return ScreenEntry("ok", one.source, (("", str(one)), ("dim", f"for {_format_span(one.since, now)}")))


def _format_pull(one: PullState, now: datetime) -> ScreenEntry:
    at = (one.last_applied or "nothing")[:10]
    cells: list[Span] = [
        ("", at),
        ("dim", _format_age(one.attempted_at, now)),
        ("dim", f"{one.url} {one.ref}"),
    ]
    if one.reason:
        cells.append(("yellow", f"{one.reason}: {one.message}"))
    return ScreenEntry("warn" if one.reason else "ok", one.source, tuple(cells))


def _choose_mark(one: Replica, found: Overview) -> str:
    from agentsd.store.queries.replicas import LIVE_SECONDS

    if one.silent(found.now) >= LIVE_SECONDS or one.version < found.version:
        return "warn"
    return "bad" if one.degraded else "ok"


def _format_replica(one: Replica, found: Overview) -> ScreenEntry:
    from agentsd.store.queries.replicas import LIVE_SECONDS

    behind = found.version - one.version
    cells: list[Span] = [
        ("yellow" if behind > 0 else "green", f"version {one.version}"),
        ("dim", f"up {_format_span(one.started_at, found.now)}"),
        ("dim", f"seen {_format_age(one.seen_at, found.now)}"),
    ]
    if one.silent(found.now) >= LIVE_SECONDS:
        cells.append(("yellow", "no heartbeat: killed, frozen or cut off"))
    elif one.degraded:
        cells.append(("red", f"{len(one.degraded)} degraded"))
    elif behind > 0:
        cells.append(("yellow", f"{behind} behind"))
    return ScreenEntry(_choose_mark(one, found), one.place, tuple(cells))


def _format_task(one: FailingTask) -> ScreenEntry:
    often = "once" if one.failures == 1 else f"{one.failures} times in a row"
    return ScreenEntry("bad", one.task, (("red", often), ("dim", f"on {one.replica}"), ("", one.message)))


def _format_degraded(one: DegradedAgent, found: Overview) -> ScreenEntry:
    count, total = len(one.replicas), len(found.replicas)
    where = "everywhere" if count == total else one.replicas[0] if count == 1 else f"on {count} of {total}"
    return ScreenEntry(
        "bad", one.slug, (("red", one.type), ("", one.reason), ("dim", where), ("", one.message))
    )


def _format_condition(one: ManifestCondition, now: datetime) -> ScreenEntry:
    mark = _CONDITIONS.get(one.type, "bad")
    style = {"none": "dim", "warn": "yellow"}.get(mark, "red")
    return ScreenEntry(
        mark,
        one.path,
        (
            (style, one.type),
            ("", one.reason),
            ("dim", f"for {_format_span(one.since, now)}"),
            ("", one.message),
        ),
    )


def _format_knowledge(found: Overview) -> Iterator[ScreenEntry]:
    stock = found.knowledge
    if not stock.sources:
        return
    said: list[Span] = [("", f"{stock.passages} passages")]
    if stock.missing:
        said.append(("yellow", f"{stock.missing} not split yet: run agentsd sync"))
    yield ScreenEntry("warn" if stock.missing else "ok", f"{stock.sources} documents", tuple(said))
    for space, count in stock.spaces.items():
        whole = count >= stock.passages
        yield ScreenEntry("ok" if whole else "none", space, (("", f"{count} of {stock.passages} embedded"),))


def _format_run(one: SyncRun, now: datetime) -> ScreenEntry:
    what = f"{one.outcome} as version {one.version}" if one.version else one.outcome
    style = "red" if _OUTCOMES[one.outcome] == "bad" else ""
    by = f"{one.source} by {one.trigger}"
    at = (one.commit or "")[:10]
    cells: tuple[Span, ...] = (("dim", by), (style, what), ("dim", at), ("dim", f"{one.duration_ms} ms"))
    return ScreenEntry(
        _OUTCOMES[one.outcome], _format_age(one.started_at, now), (*cells, (style, _format_counts(one)))
    )


def _format_counts(one: SyncRun) -> str:
    if one.errors and one.outcome in ("refused", "failed"):
        return str(one.errors[0].get("message", ""))
    return ", ".join(f"{count} {name}" for name, count in one.counts.items() if count)


def _format_age(moment: datetime | None, now: datetime) -> str:
    return f"{_format_span(moment, now)} ago" if moment else "never"


def _format_span(moment: datetime | None, now: datetime) -> str:
    seconds = int((now - moment).total_seconds()) if moment else 0
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
