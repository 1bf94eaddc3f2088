"""Waiting of ``sync --wait`` for the replicas, and its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentsd.cli.output import get_stderr, get_stdout, print_lines, show_progress
from agentsd.control.sync.convergence import FleetState, NotConverged, wait_for_replicas

if TYPE_CHECKING:
    from agentsd.control.sync.reconciler import SyncResult
    from agentsd.core.text.render import Line
    from agentsd.store.database import Database


async def wait_for_fleet(
    database: Database, outcome: SyncResult, timeout: float
) -> FleetState | NotConverged:
    """Wait for every live replica. A sync that changed nothing waits for what was applied before."""
    version = outcome.head.version if outcome.head else outcome.stored.version
    if outcome.head:
        changed = {change.slug for change in outcome.plan.changes if change.operation != "delete"}
    else:
        changed = {row.slug for row in outcome.stored.agents.values() if row.version == version}
    try:
        with show_progress("replicas") as update:
            return await wait_for_replicas(database, version, timeout, update, changed=changed)
    except NotConverged as error:
        return error


def show_fleet(fleet: FleetState) -> None:
    """Print the serving replicas on standard output; those that left on standard error."""
    serving = len(fleet.serving)
    text = (
        f"serving on {serving} replica{'' if serving == 1 else 's'}" if serving else "no replica is running"
    )
    print_lines(get_stdout(), [(("green", "✓ "), ("", text), ("dim", f" (version {fleet.version})"))])
    show_departed(fleet)


def show_not_converged(error: NotConverged) -> None:
    """Print every lagging replica and every degraded agent, one per line; then a summary."""
    fleet = error.fleet
    lines: list[Line] = [(("yellow", "  ! "), ("", str(laggard))) for laggard in fleet.laggards]
    for bad in fleet.spoiled:
        lines += [(("red", "  ✗ "), ("", str(bad))), (("dim", f"      {bad.message}"),)]
    text = f"{len(fleet.serving)} of {fleet.expected} replicas serve version {fleet.version}"
    print_lines(get_stderr(), [*lines, (("bold red", f"✗ {error.what}: "), ("", text))])
    show_departed(fleet)
    print_lines(get_stderr(), [(("dim", "    → "), ("", error.hint))])


def show_departed(fleet: FleetState) -> None:
    """Print the replicas that are no longer waited for."""
    for one in fleet.left:
        text = f"{one.place} stopped before it served version {fleet.version}"
        print_lines(get_stderr(), [(("dim", "  - "), ("", text))])
    for silent in fleet.silent:
        print_lines(get_stderr(), [(("dim", "  - "), ("", f"{silent}; not waited for"))])
