"""``agentsd status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from agentsd.cli.compose import load_settings, open_database, run
from agentsd.cli.output import print_json, print_lines, stdout

if TYPE_CHECKING:
    from agentsd.settings import Settings
    from agentsd.store.leadership import Leader
    from agentsd.store.replicas import Replica
    from agentsd.store.runs import ManifestCondition, Run


@click.command("status")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--runs", "limit", default=5, help="How many runs to show [5].")
def status_command(form: str, limit: int) -> None:
    """Version, agents, replicas, latest runs and conditions on one screen.

    \b
    Examples:
      agentsd status
      agentsd status --format json
    """
    found = run(_gather(load_settings(), limit))
    if form == "json":
        print_json(found | {name: [_plain(asdict(one)) for one in found[name]] for name in _LISTS})
        return
    head = f"{found['agents']} agents of {found['owners']} owners"
    print_lines(
        stdout(),
        [(("bold", f"version {found['version']}"), ("", f"  {head}"), ("dim", f"  {found['place']}"))],
    )
    _print_leaders(found["leaders"])
    _print_replicas(found["replicas"], found["version"])
    _print_runs(found["runs"])
    _print_conditions(found["conditions"])


_LISTS = ("leaders", "replicas", "runs", "conditions")


async def _gather(settings: Settings, limit: int) -> dict[str, Any]:
    from agentsd.store import agents, leadership, replicas, runs

    async with open_database(settings, start=False) as database, database.transaction(snapshot=True) as conn:
        stored = await agents.load_stored(conn, settings.source)
        return {
            "place": database.place,
            "version": stored.version,
            "agents": len(stored.agents),
            "drifted": sorted(row.slug for row in stored.agents.values() if row.drifted),
            "owners": len(stored.users),
            "leaders": await leadership.list_leaders(conn),
            "replicas": await replicas.list_replicas(conn),
            "runs": await runs.list_runs(conn, limit=limit),
            "conditions": await runs.list_conditions(conn),
        }


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item.isoformat() if isinstance(item, datetime) else item for key, item in value.items()}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold")
    for column in columns:
        table.add_column(column, style=None, header_style="dim")
    for row in rows:
        table.add_row(*(Text(*cell) if isinstance(cell, tuple) else Text(str(cell)) for cell in row))
    console = stdout().rich()
    console.print()
    console.print(table)


def _print_leaders(found: Sequence[Leader]) -> None:
    """Nothing, where no daemon ever ran: a sync by command asks nobody."""
    if found:
        rows = [
            (one.source, str(one) if one.leads else ("nobody", "yellow"), _ago(one.since), one.epoch)
            for one in found
        ]
        _table("Leaders", ("source", "leader", "since", "epoch"), rows)


def _print_replicas(found: Sequence[Replica], version: int) -> None:
    rows = [
        (
            f"{one.host}:{one.pid}",
            (str(one.version), "green" if one.version >= version else "yellow"),
            len(one.degraded) or "",
            _ago(one.seen_at),
        )
        for one in found
    ]
    _table(f"Replicas ({len(found)})", ("replica", "version", "degraded", "seen"), rows)


def _print_runs(found: Sequence[Run]) -> None:
    styles = {"applied": "green", "unchanged": "dim", "refused": "red", "failed": "red"}
    rows = [
        (
            _ago(one.started_at),
            one.source,
            one.trigger,
            (one.outcome, styles[one.outcome]),
            one.version or "",
            (one.commit or "")[:10],
            f"{one.duration_ms} ms",
            _counts(one),
        )
        for one in found
    ]
    _table("Runs", ("when", "source", "by", "outcome", "version", "commit", "took", "what"), rows)


def _counts(one: Run) -> str:
    if one.errors and one.outcome in ("refused", "failed"):
        return str(one.errors[0].get("message", ""))
    return ", ".join(f"{count} {name}" for name, count in one.counts.items() if count)


def _print_conditions(found: Sequence[ManifestCondition]) -> None:
    if found:
        rows = [
            (
                one.path,
                (one.type, "red" if one.type == "Invalid" else "yellow"),
                one.reason,
                one.message,
                _ago(one.since),
            )
            for one in found
        ]
        _table("Not ready", ("manifest", "condition", "reason", "message", "since"), rows)


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return ""
    seconds = int((datetime.now(moment.tzinfo) - moment).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{max(seconds, 0)} s ago"
