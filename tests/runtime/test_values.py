"""The runtime's plain values: shards, drafts, subscriptions, metrics."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.agent import AgentRow
from agentsd.runtime.agents.change_feed import SLUGS_MAX, ChangeFeed
from agentsd.runtime.agents.cooperative import CooperativeYield, process_each
from agentsd.runtime.agents.persistent_map import MapEdit, PersistentMap
from agentsd.runtime.agents.snapshot import (
    AgentCondition,
    Snapshot,
    SnapshotBuilder,
    SnapshotEntry,
    make_empty_snapshot,
)
from agentsd.telemetry import Metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY = AgentCondition("Ready", "Opened", "", NOW)


@given(st.lists(st.lists(st.tuples(st.integers(0, 600), st.none() | st.integers()))))
def test_shards_are_dicts_of_which_every_version_stays_as_it_was(
    edits: list[list[tuple[int, int | None]]],
) -> None:
    """Whatever is put and popped, each frozen version equals the dict of its time, for good."""
    versions: list[tuple[PersistentMap[int, int], dict[int, int]]] = [(PersistentMap(), {})]
    for changes in edits:
        shards, model = versions[-1]
        edit, model = MapEdit(shards), dict(model)
        for key, value in changes:
            if value is None:
                assert edit.pop(key) == model.pop(key, None)
            else:
                edit.put(key, value)
                model[key] = value
            assert edit.get(key) == model.get(key)
        versions.append((edit.freeze(), model))
    for shards, model in versions:
        assert dict(shards) == model
        assert len(shards) == len(model)
        assert all(key in shards and shards.get(key) == shards[key] for key in model)
        assert shards.get(-1) is None
        assert shards.get(-1, 7) == 7


def row(agent: int, slug: str, default: bool) -> AgentRow:
    """A row of owner ``o``."""
    return AgentRow(
        id=UUID(int=agent),
        slug=slug,
        owner="o",
        source="main",
        path=f"{slug}.yaml",
        version=1,
        digest=b"",
        is_default=default,
        is_active=True,
        name=slug,
        commit=None,
        created_at=NOW,
        updated_at=NOW,
    )


States = st.tuples(st.permutations(list("abcdef")), st.integers(0, 6), st.none() | st.integers(0, 5))


def snapshot_of(base: Snapshot, state: tuple[list[str], int, int | None]) -> Snapshot:
    """``base`` turned into the state: names, how many agents there are, which one is the default."""
    slugs, count, default = state
    draft = SnapshotBuilder(base)
    for agent in base.ids:
        draft.remove(agent)
    for number, slug in enumerate(slugs[:count]):
        draft.put(SnapshotEntry(row(number, slug, number == default), READY))
    return draft.freeze(base.version + 1, uuid4(), NOW)


@given(st.lists(States, max_size=5))
def test_names_and_defaults_may_trade_places_at_will(states: list[tuple[list[str], int, int | None]]) -> None:
    """After any permutation each agent is found by its new name and id, and the default is the right one."""
    snapshot = make_empty_snapshot(NOW)
    for slugs, count, default in states:
        snapshot = snapshot_of(snapshot, (slugs, count, default))
        assert {slug: entry.row.id.int for slug, entry in snapshot.entries.items()} == {
            slug: agent for agent, slug in enumerate(slugs[:count])
        }
        assert all(snapshot.find(str(agent)).row.id == agent for agent in snapshot.ids)
        wanted = {"o": slugs[default]} if default is not None and default < count else {}
        assert dict(snapshot.defaults) == wanted


def test_a_condition_keeps_its_beginning_while_it_says_the_same() -> None:
    """``since`` tells when it began, not when it was last looked at."""
    later = datetime(2026, 1, 2, tzinfo=UTC)
    again = AgentCondition("Ready", "Opened", "", later)
    other = AgentCondition("Degraded", "SealLocked", "no key", later)
    assert again.after(READY) is READY
    assert other.after(READY) is other
    assert other.after(None) is other


async def test_a_change_of_very_many_agents_is_told_as_a_resync() -> None:
    """Subscribers read everything again instead of a list of thousands; closing ends them."""
    changes = ChangeFeed(Metrics())
    with changes.subscribe() as events:
        changes.publish("changed", 1, tuple(f"a{n}" for n in range(SLUGS_MAX + 1)))
        changes.publish("changed", 2, ("a",))
        changes.close()
        assert [(event.kind, event.version, event.slugs) async for event in events] == [
            ("resync", 1, ()),
            ("changed", 2, ("a",)),
        ]


async def test_each_does_everything_and_lets_others_run() -> None:
    """Every item once; with a slice of zero the loop turns between any two."""
    done: list[int] = []
    turns = 0

    async def work(item: int) -> None:
        done.append(item)

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await process_each(range(20), work, CooperativeYield(slice_s=0))
    await process_each([20], work, CooperativeYield())
    await process_each([], work, CooperativeYield())
    task.cancel()
    assert sorted(done) == list(range(21))
    assert turns >= 5


def test_two_sets_of_metrics_share_nothing() -> None:
    """Two runtimes in one process count apart."""
    one, other = Metrics(), Metrics()
    one.swaps.inc()
    assert b"agentsd_swaps_total 1.0" in one.render()
    assert b"agentsd_swaps_total 0.0" in other.render()
