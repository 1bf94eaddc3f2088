"""``agentsd status``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentsd.cli.compose.parts import load_settings, open_database, run
from agentsd.cli.output import print_json, print_lines, stdout
from agentsd.core.text.screen import Entry, Section, screen

if TYPE_CHECKING:
    from agentsd.control.status.overview import Ailing, Overview
    from agentsd.core.text.render import Line, Span
    from agentsd.settings import Settings
    from agentsd.store.leader_election import Leader
    from agentsd.store.queries.pulls import Pull
    from agentsd.store.queries.replicas import Replica
    from agentsd.store.queries.runs import ManifestCondition, Run

T = TypeVar("T")

_SHOWN = 12  # entries of one section: everything is in --format json
_WIDE = 1 << 20  # of what is no terminal: nothing is wrapped

_OUTCOMES = {"applied": "ok", "unchanged": "none", "refused": "bad", "failed": "bad"}
_CONDITIONS = {"Ready": "ok", "Suspended": "none", "Orphaned": "warn"}


@click.command("status")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--runs", "limit", default=5, help="How many runs to show [5].")
@click.option("--watch", "watching", is_flag=True, help="Go on: a live screen, or a line for each change.")
def status_command(form: str, limit: int, watching: bool) -> None:
    """How things stand, on one screen: leader, replicas, agents that are not well, knowledge, runs.

    \b
    Examples:
      agentsd status
      agentsd status --format json
      agentsd status --watch
      agentsd status --watch --format json      one JSON document a line, for each change
    """
    if watching:
        from agentsd.cli.status_watch import watch

        run(watch(load_settings(), form, limit, overview_lines))
        return
    found, place = run(_gather(load_settings(), limit))
    if form == "json":
        print_json(overview_json(found, place))
        return
    width = shutil.get_terminal_size().columns if stdout().is_terminal else _WIDE
    print_lines(stdout(), overview_lines(found, place, width))


async def _gather(settings: Settings, limit: int) -> tuple[Overview, str]:
    from agentsd.control.status.overview import overview

    async with open_database(settings, start=False) as database, database.transaction(snapshot=True) as conn:
        return await overview(conn, settings.source, runs_shown=limit), database.place


def overview_json(found: Overview, place: str) -> dict[str, Any]:
    """Return everything for machines, moments in ISO 8601."""
    body = asdict(found)
    for replica, one in zip(body["replicas"], found.replicas, strict=True):
        replica["silent_seconds"] = one.silent(found.now)
    plain: dict[str, Any] = _plain({"place": place, **body, "ailing": [asdict(one) for one in found.ailing]})
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def overview_lines(found: Overview, place: str, width: int) -> Iterator[Line]:
    """Return the overview as lines for people."""
    counts = f"{found.agents} agents of {found.owners} owners"
    yield (("bold", f"version {found.version}"), ("", f"  {counts}"))
    yield (("dim", place if len(place) <= width else f"…{place[1 - width :]}"),)
    if found.read_only:
        yield (("yellow", "Postgres is read-only: nothing is applied until it takes writes again"),)
    yield from screen(_sections(found), width)


def _sections(found: Overview) -> list[Section]:
    replicas = sorted(found.replicas, key=lambda one: _mark_of(one, found) == "ok")
    serving = sum(_mark_of(one, found) == "ok" for one in replicas)
    ailing, unready = found.ailing, [one for one in found.conditions if one.type != "Ready"]
    return [
        _section("Leader", found.leaders, lambda one: _leader(one, found.now)),
        _section("Pulled", found.pulls, lambda one: _pull(one, found.now)),
        _section(
            f"Replicas: {serving} of {len(replicas)} well at version {found.version}",
            replicas,
            lambda one: _replica(one, found),
        ),
        _section(f"Agents not well: {len(ailing)}", ailing, lambda one: _ailing(one, found)),
        _section(f"Manifests not ready: {len(unready)}", unready, lambda one: _condition(one, found.now)),
        _section(
            f"Drifted, edited by hand: {len(found.drifted)}", found.drifted, lambda one: Entry("warn", one)
        ),
        Section("Knowledge", list(_knowledge(found))),
        _section("Runs", found.runs, lambda one: _run(one, found.now)),
    ]


def _section(title: str, found: Sequence[T], entry: Any) -> Section:
    return Section(title, [entry(one) for one in found[:_SHOWN]], max(len(found) - _SHOWN, 0))


def _leader(one: Leader, now: datetime) -> Entry:
    if not one.leads:
        return Entry("warn", one.source, (("yellow", "nobody"), ("dim", f"last {one}")))
    return Entry("ok", one.source, (("", str(one)), ("dim", f"for {_span(one.since, now)}")))


def _pull(one: Pull, now: datetime) -> Entry:
    at = (one.last_applied or "nothing")[:10]
    cells: list[Span] = [("", at), ("dim", _ago(one.attempted_at, now)), ("dim", f"{one.url} {one.ref}")]
    if one.reason:
        cells.append(("yellow", f"{one.reason}: {one.message}"))
    return Entry("warn" if one.reason else "ok", one.source, tuple(cells))


def _mark_of(one: Replica, found: Overview) -> str:
    from agentsd.store.queries.replicas import LIVE_SECONDS

    if one.silent(found.now) >= LIVE_SECONDS or one.version < found.version:
        return "warn"
    return "bad" if one.degraded else "ok"


def _replica(one: Replica, found: Overview) -> Entry:
    from agentsd.store.queries.replicas import LIVE_SECONDS

    behind = found.version - one.version
    cells: list[Span] = [
        ("yellow" if behind > 0 else "green", f"version {one.version}"),
        ("dim", f"up {_span(one.started_at, found.now)}"),
        ("dim", f"heard {_ago(one.seen_at, found.now)}"),
    ]
    if one.silent(found.now) >= LIVE_SECONDS:
        cells.append(("yellow", "silent: killed, frozen or cut off"))
    elif one.degraded:
        cells.append(("red", f"{len(one.degraded)} not well"))
    elif behind > 0:
        cells.append(("yellow", f"{behind} behind"))
    return Entry(_mark_of(one, found), one.place, tuple(cells))


def _ailing(one: Ailing, found: Overview) -> Entry:
    count, total = len(one.replicas), len(found.replicas)
    where = "everywhere" if count == total else one.replicas[0] if count == 1 else f"on {count} of {total}"
    return Entry("bad", one.slug, (("red", one.type), ("", one.reason), ("dim", where), ("", one.message)))


def _condition(one: ManifestCondition, now: datetime) -> Entry:
    mark = _CONDITIONS.get(one.type, "bad")
    style = {"none": "dim", "warn": "yellow"}.get(mark, "red")
    return Entry(
        mark,
        one.path,
        ((style, one.type), ("", one.reason), ("dim", f"for {_span(one.since, now)}"), ("", one.message)),
    )


def _knowledge(found: Overview) -> Iterator[Entry]:
    stock = found.knowledge
    if not stock.sources:
        return
    said: list[Span] = [("", f"{stock.passages} passages")]
    if stock.missing:
        said.append(("yellow", f"{stock.missing} not cut yet: run agentsd sync"))
    yield Entry("warn" if stock.missing else "ok", f"{stock.sources} documents", tuple(said))
    for space, count in stock.spaces.items():
        whole = count >= stock.passages
        yield Entry("ok" if whole else "none", space, (("", f"{count} of {stock.passages} embedded"),))


def _run(one: Run, now: datetime) -> Entry:
    what = f"{one.outcome} as version {one.version}" if one.version else one.outcome
    style = "red" if _OUTCOMES[one.outcome] == "bad" else ""
    by = f"{one.source} by {one.trigger}"
    at = (one.commit or "")[:10]
    cells: tuple[Span, ...] = (("dim", by), (style, what), ("dim", at), ("dim", f"{one.duration_ms} ms"))
    return Entry(_OUTCOMES[one.outcome], _ago(one.started_at, now), (*cells, (style, _counts(one))))


def _counts(one: Run) -> str:
    if one.errors and one.outcome in ("refused", "failed"):
        return str(one.errors[0].get("message", ""))
    return ", ".join(f"{count} {name}" for name, count in one.counts.items() if count)


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{_span(moment, now)} ago" if moment else "never"


def _span(moment: datetime | None, now: datetime) -> str:
    seconds = int((now - moment).total_seconds()) if moment else 0
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
