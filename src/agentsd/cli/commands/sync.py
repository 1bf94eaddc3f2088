"""``agentsd plan`` and ``agentsd sync``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agentsd.cli.commands.author import ENV_OPTION
from agentsd.cli.compose.factories import load_settings, make_catalog, make_checker, open_database, run
from agentsd.cli.compose.fleet_wait import show_fleet, show_not_converged, wait_for_fleet
from agentsd.cli.output import (
    get_stderr,
    get_stdout,
    print_json,
    print_lines,
    show_error,
    show_progress,
    show_violations,
)
from agentsd.control.sync.convergence import FleetState, NotConverged, fleet_json
from agentsd.control.sync.reconciler import Reconciler, SyncOptions, SyncResult
from agentsd.control.sync.retention import prune_history
from agentsd.control.sync.run_log import record_error, record_result
from agentsd.core.errors import AgentsdError, InvalidManifests, StaleSync
from agentsd.core.text.plan_markdown import format_plan_markdown
from agentsd.core.text.render import format_plan, plan_to_json, prefix_path, summarise_plan, violation_to_json
from agentsd.files.git.command import is_older, read_head_commit
from agentsd.files.git.sparse import mark_absent
from agentsd.files.tree import Tree, read_tree_at_rest
from agentsd.settings import Settings
from agentsd.store.database import Database

SyncEnding = tuple[SyncResult, FleetState | NotConverged | None]
"""Result of the sync, and of the wait for the replicas if there was one."""


def _add_shared_options(command: Any) -> Any:
    for option in (
        click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d]."),
        ENV_OPTION,
        click.option("--source", help="Name of this tree; prune removes only its own rows [main]."),
        click.option("--no-prune", is_flag=True, help="Keep agents whose files are gone."),
        click.option("--allow-mass-delete", is_flag=True, help="Remove many agents at once."),
        click.option("--allow-older", is_flag=True, help="Sync a commit older than the applied one."),
        click.option("--require-mac", is_flag=True, help="Refuse seals that no available key can verify."),
    ):
        command = option(command)
    return command


@click.command("plan")
@_add_shared_options
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where there are changes.")
@click.option(
    "--against", metavar="git:REF", help="Compare with where this branch left REF; needs no database."
)
def plan_command(form: str, detailed_exitcode: bool, against: str | None, **flags: Any) -> None:
    """Show what a sync would change. Changes nothing; secrets are never shown.

    \b
    Examples:
      agentsd plan
      agentsd plan --against git:origin/main    what this branch changes; no database, no key
      agentsd plan --format markdown            as a comment on a pull request
      agentsd plan --detailed-exitcode          0 no changes, 1 error, 2 changes
    """
    try:
        if against is not None:
            from agentsd.cli.commands.branch_plan import plan_against

            plan_against(against, form, flags, detailed=detailed_exitcode)
            return
        outcome, _ = _run_sync(flags, form, write=False)
    except AgentsdError as error:
        if not detailed_exitcode:
            raise
        show_error(error)
        sys.exit(1)  # 2 means that there are changes
    _print_outcome(outcome, form, _make_prefix(flags), written=False)
    if detailed_exitcode and not outcome.plan.empty:
        sys.exit(2)


@click.command("sync")
@_add_shared_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--dry-run", is_flag=True, help="Plan only.")
@click.option("--wait", is_flag=True, help="Return when every live replica serves the new version.")
@click.option("--timeout", default=30.0, help="Seconds that --wait waits [30].")
def sync_command(form: str, dry_run: bool, wait: bool, timeout: float, **flags: Any) -> None:
    """Apply the files to the database, in one transaction.

    Strict: where any file breaks a rule, nothing is applied and the exit status is 1.

    \b
    Examples:
      agentsd sync
      agentsd sync --dry-run
      agentsd sync --wait --timeout 60          in CI: returns once live everywhere
    """
    outcome, fleet = _run_sync(flags, form, write=not dry_run, wait=timeout if wait and not dry_run else None)
    _print_outcome(outcome, form, _make_prefix(flags), fleet, written=not dry_run)
    if isinstance(fleet, NotConverged):
        sys.exit(1)


def _run_sync(flags: dict[str, Any], form: str, *, write: bool, wait: float | None = None) -> SyncEnding:
    settings = load_settings(path=flags["path"], source=flags["source"], env=flags["env"])
    try:
        return run(_reconcile_folder(settings, flags, write=write, wait=wait))
    except InvalidManifests as error:
        prefix = _make_prefix(flags)
        if form == "json":
            found = [violation_to_json(v) | {"path": prefix_path(prefix, v.path)} for v in error.violations]
            print_json({"error": error.message, "violations": found})
        show_violations(error.violations, prefix)
        print_lines(get_stderr(), [(("bold red", "nothing was applied"),)] if write else [])
        sys.exit(1)
    except AgentsdError as error:
        if form == "json":
            print_json({"error": error.message, "hint": error.hint})
        raise


async def _reconcile_folder(
    settings: Settings, flags: dict[str, Any], *, write: bool, wait: float | None
) -> SyncEnding:
    commit = await read_head_commit(settings.path)
    with show_progress("reading") as update:
        tree = await mark_absent(read_tree_at_rest(settings.path, env=settings.env))
        if update:
            update(len(tree.files), len(tree.files))
    options = SyncOptions(
        source=settings.source,
        commit=commit,
        work_tree=settings.path,
        prune=not flags["no_prune"],
        allow_mass_delete=flags["allow_mass_delete"],
    )
    async with open_database(settings) as database:
        reconciler = Reconciler(make_checker(settings, require_mac=flags["require_mac"]), database)
        async with _record_run(database, options, write=write) as finished:
            if commit and not flags["allow_older"]:
                await refuse_older(reconciler, settings, commit)
            outcome = await _reconcile_tree(reconciler, tree, options, write=write)
            finished.append(outcome)
        if outcome.head:
            await prune_history(database, settings.keep_revisions)
        return outcome, await wait_for_fleet(database, outcome, wait) if wait is not None else None


@asynccontextmanager
async def _record_run(
    database: Database, options: SyncOptions, *, write: bool
) -> AsyncIterator[list[SyncResult]]:
    """Record the result of the sync within; one that only plans leaves no record."""
    started_at = datetime.now(UTC)
    finished: list[SyncResult] = []
    try:
        yield finished
    except AgentsdError as error:
        if write:
            with suppress(AgentsdError):
                await record_error(database, error, options, trigger="cli", started_at=started_at)
        raise
    if write:
        with suppress(AgentsdError):  # the sync itself is already applied
            await record_result(database, finished[0], options, trigger="cli", started_at=started_at)


async def _reconcile_tree(
    reconciler: Reconciler, tree: Tree, options: SyncOptions, *, write: bool
) -> SyncResult:
    with show_progress("checking") as update:
        return await (reconciler.sync if write else reconciler.plan)(tree, options, update)


async def refuse_older(reconciler: Reconciler, settings: Settings, commit: str) -> None:
    """Raise ``StaleSync`` if ``commit`` was overtaken by what is applied already."""
    applied = await reconciler.applied_commit(settings.source)
    if applied and await is_older(settings.path, commit, applied):
        raise StaleSync(
            f"commit {commit[:12]} is older than {applied[:12]}, which is applied already",
            hint="pull first; or, to go back on purpose, revert in git or pass --allow-older",
        )


def _make_prefix(flags: dict[str, Any]) -> str:
    return f"{load_settings(path=flags['path']).path.as_posix().rstrip('/')}/"


def _print_outcome(
    outcome: SyncResult,
    form: str,
    prefix: str,
    fleet: FleetState | NotConverged | None = None,
    *,
    written: bool,
) -> None:
    version = outcome.head.version if outcome.head else outcome.stored.version
    if form == "json":
        body = plan_to_json(outcome.plan)
        print_json(
            {**body, "version": version, "applied": outcome.head is not None, "seconds": outcome.seconds}
            | _make_fleet_json(fleet)
        )
        return
    if form == "markdown":
        masker = make_catalog().make_masker()
        sys.stdout.write(format_plan_markdown(outcome.plan, prefix=prefix, masker=masker))
        return
    if outcome.warnings:
        show_violations(outcome.warnings, prefix)
    print_lines(get_stdout(), format_plan(outcome.plan))
    done = f"applied as version {version}" if outcome.head else f"at version {version}"
    verb = done if written else "planned, nothing written"
    style = "green" if written else "bold"
    print_lines(
        get_stdout(),
        [
            (
                (style, "✓ " if written else "  "),
                ("", f"{summarise_plan(outcome.plan)} "),
                ("dim", f"({verb}, {outcome.seconds:.2f} s)"),
            )
        ],
    )
    if isinstance(fleet, NotConverged):
        show_not_converged(fleet)
    elif fleet:
        show_fleet(fleet)


def _make_fleet_json(fleet: FleetState | NotConverged | None) -> dict[str, Any]:
    if fleet is None:
        return {}
    if isinstance(fleet, NotConverged):
        return {"replicas": fleet_json(fleet.fleet), "error": fleet.message, "hint": fleet.hint}
    return {"replicas": fleet_json(fleet)}
