"""Differences between two overviews, as ``agentsd status --watch`` reports them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agentsd.control.status.overview import Overview
from agentsd.store.queries.runs import ManifestCondition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OverviewEvent:
    """Difference between two overviews."""

    kind: str  # version, run, condition, agent, replica, task, leader, drift
    name: str  # of what: a path, a slug, a replica's place, a source
    state: str  # what it is now
    text: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the event as JSON."""
        text = {"message": self.text} if self.text else {}
        return {"kind": self.kind, "name": self.name, "state": self.state, **text, **self.more}


def diff_overviews(old: Overview, new: Overview) -> Iterator[OverviewEvent]:
    """Yield events, runs first, the oldest of them first; what has disappeared is reported as over."""
    known = {run.id for run in old.runs}
    for run in reversed(new.runs):
        if run.id not in known:
            first = str(run.errors[0].get("message", "")) if run.errors else ""
            more = {
                "trigger": run.trigger,
                "version": run.version,
                "commit": run.commit,
                "drift": len(run.drift),
            }
            yield OverviewEvent("run", run.source, run.outcome, first, {**more, "counts": dict(run.counts)})
    if new.version != old.version:
        yield OverviewEvent("version", "agents", str(new.version), "", {"agents": new.agents})
    yield from _diff_items(
        "condition",
        old.conditions,
        new.conditions,
        _get_path,
        lambda one: (one.type, one.reason, one.message),
    )
    yield from _diff_items(
        "agent", old.ailing, new.ailing, lambda one: one.slug, lambda one: (one.type, one.reason, one.message)
    )
    yield from _diff_items(
        "status",
        old.standing,
        new.standing,
        lambda one: one.slug,
        lambda one: (one.status, one.reason, one.message),
    )
    yield from _diff_replicas(old, new)
    yield from _diff_tasks(old, new)
    leaders = [{one.source: one for one in view.leaders if one.leads} for view in (old, new)]
    for source, leader in leaders[1].items():
        if str(leaders[0].get(source)) != str(leader):
            yield OverviewEvent("leader", source, "leads", str(leader))
    for source in leaders[0].keys() - leaders[1].keys():
        yield OverviewEvent("leader", source, "nobody")
    for slug in sorted({*new.drifted} - {*old.drifted}):
        yield OverviewEvent("drift", slug, "drifted")
    for slug in sorted({*old.drifted} - {*new.drifted}):
        yield OverviewEvent("drift", slug, "healed")


def _get_path(one: ManifestCondition) -> str:
    return one.path


def _diff_items(
    kind: str,
    old: Iterable[T],
    new: Iterable[T],
    name: Callable[[T], str],
    state: Callable[[T], tuple[str, str, str]],
) -> Iterator[OverviewEvent]:
    before, after = ({name(one): state(one) for one in some} for some in (old, new))
    for key, (type_, reason, message) in after.items():
        if before.get(key) != (type_, reason, message):
            yield OverviewEvent(kind, key, type_, message, {"reason": reason})
    for key in sorted(before.keys() - after.keys()):
        yield OverviewEvent(kind, key, "Ready")


def _diff_tasks(old: Overview, new: Overview) -> Iterator[OverviewEvent]:
    """Yield the tasks of replicas that began to fail, and those that run again or are gone."""
    before, after = (
        {f"{one.task} on {one.replica}": one for one in view.failing_tasks} for view in (old, new)
    )
    for key in after.keys() - before.keys():
        yield OverviewEvent("task", key, "failing", after[key].message)
    for key in before.keys() - after.keys():
        yield OverviewEvent("task", key, "healed")


def _diff_replicas(old: Overview, new: Overview) -> Iterator[OverviewEvent]:
    before, after = ({one.id: one for one in view.replicas} for view in (old, new))
    for key, one in after.items():
        known = before.get(key)
        if known is None or known.version != one.version:
            yield OverviewEvent(
                "replica", one.place, "joined" if known is None else "serves", "", {"version": one.version}
            )
    for key in before.keys() - after.keys():
        yield OverviewEvent("replica", before[key].place, "left")
