"""``agentsd rollback``, ``suspend`` and ``resume``: an edit of one file, then the sync of its folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from agentsd.cli.compose.factories import (
    load_settings,
    make_catalog,
    make_checker,
    make_opener,
    make_sops,
    open_database,
    run,
)
from agentsd.cli.output import get_stderr, print_json, print_lines
from agentsd.core.errors import AgentNotFound, AgentsdError, ConfigError
from agentsd.core.names import is_uuid, slug_from_url

if TYPE_CHECKING:
    from agentsd.control.sync.syncer import RoundReport, Syncer
    from agentsd.control.writeback.delivery import WriteResult
    from agentsd.control.writeback.writer import WriteBack
    from agentsd.settings import Settings
    from agentsd.store.database import Database
    from agentsd.store.queries.agent_lookup import AgentRef
    from agentsd.store.queries.agents import Revision

_OPTIONS = (
    click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d]."),
    click.option("--source", help="Name of this tree [main]."),
    click.option("--commit", is_flag=True, help="Commit the edit to the repository around the folder."),
    click.option("--format", "form", type=click.Choice(["text", "json"]), default="text"),
)


def _add_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("rollback")
@click.argument("agent")
@click.argument("revision", type=click.IntRange(1, (1 << 63) - 1))
@_add_options
def rollback_command(agent: str, revision: int, form: str, **flags: Any) -> None:
    """Restore an agent's manifest to version REVISION, then sync.

    AGENT is a slug or an id, also of a deleted agent: its file is restored. REVISION is a
    version, as `agentsd history` shows them. Files beside the manifest (prompts, knowledge) stay as
    they are, and are listed where they differ. Where the files cannot be written from here, the exit
    status is 1, and the git command to run instead is printed.

    \b
    Examples:
      agentsd history acme/sales --diff
      agentsd rollback acme/sales 41
      agentsd rollback acme/sales 41 --commit
    """

    async def edit(
        settings: Settings, database: Database, place: AgentRef, writeback: WriteBack
    ) -> WriteResult:
        from agentsd.control.status.restore_command import find_changed_files
        from agentsd.control.writeback.commands import RestoreAgent
        from agentsd.core.access import LOCAL

        found = await _load_revision(database, place, revision)
        target = _find_target(place, found if place.deleted else None)
        if (reason := writeback.refusal(target)) is not None:
            raise _suggest_command(settings, reason, found)
        written = await writeback.execute(LOCAL, RestoreAgent(target, found.data, revive=place.deleted))
        for name in find_changed_files(settings.path, found):
            what = f"{name} differs from version {found.version} and was not changed"
            print_lines(get_stderr(), [(("yellow", "  ! "), ("", what))])
        return written

    written = run(_apply_edit(agent, flags, edit))
    _print_result(written, form, f"matches version {revision}")


@click.command("suspend")
@click.argument("agent")
@_add_options
def suspend_command(agent: str, form: str, **flags: Any) -> None:
    """Deactivate an agent without deleting it: `active: false` in its manifest, then sync.

    \b
    Examples:
      agentsd suspend acme/sales
      agentsd suspend acme/sales --commit
    """
    _print_result(run(_apply_edit(agent, flags, _make_activity_edit(False))), form, "is suspended")


@click.command("resume")
@click.argument("agent")
@_add_options
def resume_command(agent: str, form: str, **flags: Any) -> None:
    """Reactivate a suspended agent: `active: true` in its manifest, then sync.

    \b
    Examples:
      agentsd resume acme/sales
    """
    _print_result(run(_apply_edit(agent, flags, _make_activity_edit(True))), form, "is active")


_Edit = Callable[["Settings", "Database", "AgentRef", "WriteBack"], Awaitable["WriteResult"]]


def _make_activity_edit(active: bool) -> _Edit:
    async def edit(
        settings: Settings, database: Database, place: AgentRef, writeback: WriteBack
    ) -> WriteResult:
        from agentsd.control.writeback.commands import ChangeAgent
        from agentsd.core.access import LOCAL

        if place.deleted:
            raise AgentNotFound(
                f"{place.slug} was deleted", hint=f"to restore it: agentsd rollback {place.slug} REVISION"
            )
        return await writeback.execute(
            LOCAL, ChangeAgent(_find_target(place), {"active": active}, merge=True)
        )

    return edit


async def _apply_edit(agent: str, flags: dict[str, Any], edit: _Edit) -> WriteResult:
    """Run one edit and record its result, whatever it is."""
    from agentsd.control.status.audit import record_action
    from agentsd.core.access import LOCAL

    action = click.get_current_context().command.name or ""
    settings = load_settings(path=flags["path"], source=flags["source"])
    if settings.env:
        hint = "edit the base or the overlay, and sync"
        raise ConfigError("AGENTSD_ENV is set: base and overlay cannot be distinguished here", hint=hint)
    async with open_database(settings) as database:
        place = await _find_agent(database, slug_from_url(agent))
        about: dict[str, Any] = {"status": None, "path": place.path, "from_version": place.version}
        try:
            async with _open_writeback(settings, database, commit=flags["commit"]) as writeback:
                written = await edit(settings, database, place, writeback)
        except AgentsdError:
            await record_action(database, LOCAL.actor, action, place.slug, outcome="refused", **about)
            raise
        version = written.version if written.changed else None
        done: dict[str, Any] = {**about, "to_version": version, "commit": written.commit}
        await record_action(database, LOCAL.actor, action, place.slug, outcome="done", **done)
    return written


@asynccontextmanager
async def _open_writeback(
    settings: Settings, database: Database, *, commit: bool
) -> AsyncIterator[WriteBack]:
    from agentsd.control.writeback.delivery import GitOptions
    from agentsd.control.writeback.manifest_editor import SealingEditor
    from agentsd.control.writeback.writer import WriteBack
    from agentsd.files.atomic.folder_lock import find_write_problem
    from agentsd.files.git.repository import check_repository

    here = find_write_problem(settings.path) is None
    if commit and here:
        await check_repository(settings.path)
    desk = SealingEditor(settings.path, make_catalog(), make_opener(settings), make_sops(settings))
    git = GitOptions(settings.git_message, settings.git_branch, settings.git_push)
    syncer = await _make_syncer(settings, database, here=here)
    writeback = WriteBack(desk, syncer, mode="git" if commit else "files", git=git)
    try:
        yield writeback
    finally:
        await writeback.aclose()
        await syncer.aclose()


async def _make_syncer(settings: Settings, database: Database, *, here: bool) -> Syncer:
    """Return the syncer of the folder, which records each round and refuses a tree that was overtaken."""
    from agentsd.cli.commands.sync import refuse_older
    from agentsd.control.sync.reconciler import Reconciler, SyncOptions
    from agentsd.control.sync.run_log import record_result
    from agentsd.control.sync.syncer import Syncer
    from agentsd.files.git.command import read_head_commit

    options = SyncOptions(source=settings.source, strict=False)
    reconciler = Reconciler(make_checker(settings), database)
    head = await read_head_commit(settings.path) if here else None
    if head is not None:
        await refuse_older(reconciler, settings, head)

    async def record(report: RoundReport) -> None:
        if report.outcome is not None:
            started = datetime.now(UTC) - timedelta(seconds=report.outcome.seconds)
            await record_result(database, report.outcome, options, trigger="cli", started_at=started)

    return Syncer(settings.path, reconciler, options, record)


async def _find_agent(database: Database, ref: str) -> AgentRef:
    from agentsd.store.queries.agent_lookup import find_agent_ref

    agent_id = UUID(ref) if is_uuid(ref) else None
    async with database.transaction(snapshot=True) as conn:
        place = await find_agent_ref(conn, slug=None if agent_id else ref, agent_id=agent_id)
    if place is None:
        raise AgentNotFound(f"there is no record of an agent {ref!r}", hint="see: agentsd history")
    return place


async def _load_revision(database: Database, place: AgentRef, version: int) -> Revision:
    from agentsd.store.queries.agents import load_revisions

    async with database.transaction(snapshot=True) as conn:
        found = await load_revisions(conn, place.id, limit=1, before=version + 1)
    if not found or found[0].operation == "delete":
        what = "was already deleted" if found else "has no such revision"
        raise ConfigError(
            f"{place.slug} {what}: {version}", hint=f"choose another: agentsd history {place.slug}"
        )
    return found[0]


def _find_target(place: AgentRef, revision: Revision | None = None) -> Any:
    """Return where the agent is, or for one that comes back, where it was in that revision."""
    from agentsd.control.writeback.commands import EditTarget

    at: AgentRef | Revision = revision or place
    return EditTarget(place.id, at.slug, at.owner, at.path, at.source)


def _suggest_command(settings: Settings, reason: AgentsdError, revision: Revision) -> AgentsdError:
    """Return ``reason`` with the command that a person can run instead."""
    from agentsd.control.status.restore_command import make_checkout_command
    from agentsd.control.writeback.errors import ReadOnly

    command = make_checkout_command(settings.path, revision)
    if command is None:
        hint = "the commit of that revision is not on record; what changed: agentsd history AGENT --diff"
    else:
        hint = f"in the repository of the manifests, run: {command}"
    return ReadOnly(reason.message, hint=hint)


def _print_result(written: WriteResult, form: str, what: str) -> None:
    if form == "json":
        names: Sequence[str] = ("action", "slug", "path", "version", "changed", "commit", "branch", "pushed")
        body = {name: getattr(written, name) for name in names}
        print_json({**body, "id": written.id, "message": written.message})
        return
    live = f"live as version {written.version}" if written.version else f"on branch {written.branch}"
    live += f", commit {written.commit[:12]}" if written.commit else ""
    known = what if written.changed else f"{what} already"
    lines = [(("green", "✓ "), ("bold", written.slug), ("", f" {known} "), ("dim", f"({live})"))]
    print_lines(get_stderr(), lines)
    if written.message and written.changed:
        print_lines(get_stderr(), [(("yellow", "  ! "), ("", written.message))])
