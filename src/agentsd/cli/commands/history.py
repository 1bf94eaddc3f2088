"""``agentsd history``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from agentsd.cli.compose.factories import load_settings, make_catalog, open_database, run
from agentsd.cli.output import get_stderr, get_stdout, print_json, print_lines
from agentsd.core.errors import AgentNotFound
from agentsd.core.names import is_uuid, slug_from_url
from agentsd.core.text.columns import format_columns

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from agentsd.control.status.history import HistoryEntry
    from agentsd.core.plan.diff import FieldChange
    from agentsd.core.text.render import Span
    from agentsd.settings import Settings
    from agentsd.store.queries.revisions import RevisionSummary

    _Changed = dict[tuple[UUID, int], tuple[FieldChange, ...] | None]

_DIGEST_CHARACTERS = 8
_COMMIT_CHARACTERS = 10
"""Hex digits shown."""

_STYLES = {"create": "green", "delete": "red", "heal": "magenta"}
_OUTCOMES = {"done": "green", "refused": "yellow", "failed": "red"}
_HEADER = ("when (UTC)", "version", "what", "agent", "by", "outcome", "commit", "digest")


@click.command("history")
@click.argument("agent", required=False)
@click.option(
    "--limit", default=30, type=click.IntRange(1, 10_000), help="How many entries to show, at most [30]."
)
@click.option("--diff", is_flag=True, help="Show what each revision changed; needs no key.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def history_command(agent: str | None, limit: int, diff: bool, form: str) -> None:
    """Show the history of an agent, or of all: every revision and audit entry, newest first.

    Shows time, author, commit and outcome; refused writes are included. AGENT is a slug
    or an id, also of an agent that was renamed or deleted. --diff needs an AGENT; secrets are
    shown as "changed" or "resealed", and prompts as line diffs.

    \b
    Examples:
      agentsd history
      agentsd history acme/sales --limit 100
      agentsd history acme/sales --diff
      agentsd history --format json
    """
    if diff and not agent:
        raise click.UsageError("--diff needs an AGENT.")
    entries, changed = run(
        _gather_history(load_settings(), slug_from_url(agent) if agent else None, limit, diff=diff)
    )
    if form == "json":
        print_json({"items": [_make_view(entry) | _format_changes(entry, changed) for entry in entries]})
    elif entries and diff:
        _print_diffs(entries, changed)
    elif entries:
        print_lines(get_stdout(), format_columns(_HEADER, [_format_row(entry) for entry in entries]))
    else:
        print_lines(get_stderr(), [(("", "the history is empty"),)])


async def _gather_history(
    settings: Settings, ref: str | None, limit: int, *, diff: bool
) -> tuple[Sequence[HistoryEntry], _Changed]:
    from agentsd.control.status.history import merge_history
    from agentsd.store.queries.audit import load_audit_entries, load_version_audit_entries
    from agentsd.store.queries.revisions import load_revision_summaries

    agent_id = UUID(ref) if ref and is_uuid(ref) else None
    slug = None if agent_id else ref
    async with open_database(settings, start=False) as database, database.transaction(snapshot=True) as conn:
        steps = await load_revision_summaries(conn, limit=limit, slug=slug, agent_id=agent_id)
        targets = None if ref is None else {step.slug for step in steps} | ({slug} if slug else set())
        actions = await load_audit_entries(conn, limit=limit, target=targets)
        since = min((step.created_at for step in steps), default=datetime.max.replace(tzinfo=UTC))
        makers = await load_version_audit_entries(conn, {step.version for step in steps}, since=since)
        changed = await _compare_revisions(conn, {step.agent_id for step in steps}, limit) if diff else {}
    if ref is not None and not (steps or actions):
        raise AgentNotFound(f"there is no record of an agent {ref!r}", hint="see: agentsd history")
    return merge_history(steps, actions, makers, limit), changed


async def _compare_revisions(conn: AsyncConnection, agents: Collection[UUID], limit: int) -> _Changed:
    """Return the changes of every revision, by agent and version."""
    from agentsd.control.status.revisions import revision_changes
    from agentsd.store.queries.agents import load_revisions

    changed: _Changed = {}
    masker = make_catalog().make_masker()
    for agent_id in agents:
        found = await load_revisions(conn, agent_id, limit=limit + 1)
        for revision, fields in zip(found, revision_changes(found, masker), strict=True):
            changed[agent_id, revision.version] = fields
    return changed


def _find_changes(entry: HistoryEntry, changed: _Changed) -> tuple[FieldChange, ...] | None:
    return changed.get((entry.step.agent_id, entry.step.version)) if entry.step else None


def _format_changes(entry: HistoryEntry, changed: _Changed) -> dict[str, Any]:
    from agentsd.core.text.revision_changes import changes_to_json

    fields = _find_changes(entry, changed)
    return {"changes": None if fields is None else changes_to_json(fields)} if changed else {}


def _print_diffs(entries: Sequence[HistoryEntry], changed: _Changed) -> None:
    """Print a line for each entry, and below it its changes."""
    from agentsd.core.text.revision_changes import format_changes

    head, *rows = format_columns(_HEADER, [_format_row(entry) for entry in entries])
    print_lines(get_stdout(), [head])
    for entry, row in zip(entries, rows, strict=True):
        print_lines(get_stdout(), [row, *format_changes(_find_changes(entry, changed) or ())])


def _format_row(entry: HistoryEntry) -> tuple[Span, ...]:
    step, audit = entry.step, entry.audit
    what = step.operation if step else audit.action if audit else ""
    outcome, style = _describe_outcome(entry)
    return (
        ("dim", entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")),
        ("bold", str(step.version) if step else ""),
        (_STYLES.get(what, "yellow") if step else "", what),
        ("bold", step.slug if step else audit.target if audit else ""),
        ("", entry.who or ""),
        (style, outcome),
        ("", (_find_commit(entry) or "")[:_COMMIT_CHARACTERS]),
        ("dim", _format_digests(step) if step else ""),
    )


def _describe_outcome(entry: HistoryEntry) -> tuple[str, str]:
    """Return ``refused 412 precondition_failed``, and its style. A revision is always done."""
    if entry.audit is None:
        return "done", "green"
    detail = entry.audit.detail
    outcome = str(detail.get("outcome", "done"))
    known = (detail.get("status"), detail.get("code")) if outcome != "done" else ()
    return " ".join([outcome, *(str(part) for part in known if part)]), _OUTCOMES.get(outcome, "")


def _find_commit(entry: HistoryEntry) -> str | None:
    commit = entry.audit.detail.get("commit") if entry.audit else None
    return commit or (entry.step.commit if entry.step else None)


def _format_digests(step: RevisionSummary) -> str:
    """Return the change of the digest: ``1f2e3d4c → 5b6a7988``."""
    new = step.digest.hex()[:_DIGEST_CHARACTERS]
    if step.operation == "delete":
        return f"{new} →"
    if step.previous in (None, step.digest):
        return new
    return f"{step.previous.hex()[:_DIGEST_CHARACTERS] if step.previous else ''} → {new}"


def _make_view(entry: HistoryEntry) -> dict[str, Any]:
    """Return one entry as JSON: a revision with the audit entry that made it, or an audit entry."""
    from agentsd.control.status.audit import audit_entry_to_json

    step, audit = entry.step, entry.audit
    if step is None:
        return {"kind": "audit_entry", **(audit_entry_to_json(audit) if audit else {})}
    return {
        "kind": "revision",
        "at": step.created_at,
        "version": step.version,
        "operation": step.operation,
        "agent": step.slug,
        "id": step.agent_id,
        "user": step.owner,
        "path": step.path,
        "by": entry.who,
        "commit": _find_commit(entry),
        "digest": step.digest.hex(),
        "previous_digest": step.previous.hex() if step.previous else None,
        "audit_entry": audit_entry_to_json(audit) if audit else None,
    }
