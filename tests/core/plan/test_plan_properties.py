"""What holds for every plan, whatever files and rows there are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.core.manifest.agent import Manifest
from agentsd.core.names import derive_owner
from agentsd.core.plan.conflicts import find_conflicts
from agentsd.core.plan.plan import DesiredState, StoredState, apply_to_stored, diff_documents, make_plan
from agentsd.core.text.plan_markdown import format_plan_markdown
from agentsd.core.text.render import format_plan, plan_to_json
from tests.core.values import CHECKED, EMPTY, desired, edited, manifest, sealed, with_values

FEW = settings(max_examples=100, deadline=None)
IDS = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(6)]
PATHS = [
    f"{folder}{name}.{suffix}" for folder in ("", "acme/") for name in "abC" for suffix in ("yaml", "yml")
]

files = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(PATHS),
        st.sampled_from(["x", "y", sealed("eA==")]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=(lambda item: item[0], lambda item: item[1].rpartition(".")[0].casefold()),
)


@st.composite
def trees(draw: st.DrawFn) -> list[Manifest]:
    """Manifests that can stand beside each other: one default an owner, each id and name once."""
    found, owners = [], set()
    for id, path, text, default in draw(files):
        one = manifest(path, text, id=id, default=default and derive_owner(path) not in owners)
        owners |= {one.owner} if one.default else set()
        found.append(one)
    return found


def facts(stored: StoredState) -> set[tuple[object, ...]]:
    return {(r.id, r.slug, r.owner, r.path, r.digest, r.is_default) for r in stored.agents.values()}


def wanted(tree: list[Manifest]) -> set[tuple[object, ...]]:
    return {(m.id, m.slug, m.owner, m.path, m.digest, m.default) for m in tree}


def step(stored: StoredState, wish: DesiredState, source: str = "main") -> StoredState:
    return apply_to_stored(stored, make_plan(wish, stored, source=source), stored.version + 1, CHECKED)


@FEW
@given(trees(), trees())
def test_applying_the_plan_gives_what_is_desired(before: list[Manifest], after: list[Manifest]) -> None:
    """From any state to any other in one step; and a second plan has nothing to do."""
    stored = step(step(EMPTY, desired(*before)), desired(*after))
    assert facts(stored) == wanted(after)
    again = make_plan(desired(*after), stored, source="main")
    assert again.empty
    assert again.unchanged == len(after)
    assert {name for name, row in stored.users.items() if row} == {m.owner for m in after}


@FEW
@given(trees(), trees(), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(
    before: list[Manifest], after: list[Manifest], random: object
) -> None:
    """A plan is a function of the set of files."""
    stored = step(EMPTY, desired(*before))
    shuffled = list(after)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert make_plan(desired(*after), stored, source="main") == make_plan(
        desired(*shuffled), stored, source="main"
    )


@FEW
@given(trees(), trees(), st.sampled_from(PATHS))
def test_a_quarantine_never_removes(before: list[Manifest], after: list[Manifest], bad: str) -> None:
    """While a file of an owner is bad, no row of that owner goes, and the bad file's own is untouched."""
    stored = step(EMPTY, desired(*before))
    good = [one for one in after if one.path != bad]
    good = [
        m
        for m in good
        if m.path not in {q.path for q in find_conflicts(good, stored.agents, "main", prune=False)}
    ]
    decided = make_plan(desired(*good, bad=[bad]), stored, source="main")
    after_it = apply_to_stored(stored, decided, 9, CHECKED)
    kept = {id for id, row in stored.agents.items() if row.owner == derive_owner(bad)}
    assert kept <= after_it.agents.keys()
    slugs = [row.slug.casefold() for row in after_it.agents.values()]
    assert len(slugs) == len(set(slugs))
    owners = [row.owner for row in after_it.agents.values() if row.is_default]
    assert len(owners) == len(set(owners))


@FEW
@given(trees(), trees(), trees())
def test_sources_never_touch_each_other(
    ours: list[Manifest], theirs: list[Manifest], new: list[Manifest]
) -> None:
    """Whatever one source does, the rows of the other are what they were."""
    taken = {m.id for m in theirs}
    stored = step(EMPTY, desired(*theirs), "other")
    free = [m for m in ours if m.id not in taken]
    free = [m for m in free if m.path not in {q.path for q in find_conflicts(free, stored.agents, "main")}]
    stored = step(stored, desired(*free))
    fresh = [m for m in new if m.path not in {q.path for q in find_conflicts(new, stored.agents, "main")}]
    stored = step(stored, desired(*fresh))
    others = {row.id: row for row in stored.agents.values() if row.source == "other"}
    assert {(r.id, r.slug, r.path, r.digest) for r in others.values()} == {
        (m.id, m.slug, m.path, m.digest) for m in theirs
    }


@FEW
@given(trees(), st.data())
def test_drift_is_always_healed(tree: list[Manifest], data: st.DataObject) -> None:
    """Whichever rows drifted, just those are healed."""
    stored = step(EMPTY, desired(*tree))
    hurt = data.draw(st.sets(st.sampled_from([one.id for one in tree]))) if tree else set()
    for agent in hurt:
        stored = edited(stored, stored.agents[agent], drifted=True)
    decided = make_plan(desired(*tree), stored, source="main")
    assert {(c.operation, c.id) for c in decided.changes} == {("heal", agent) for agent in hurt}


SECRET = "Y2FuYXJ5"
leaf = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.just(sealed(SECRET)), st.none())
documents = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner)
    ),
    max_size=3,
)


@FEW
@given(documents, documents)
def test_a_diff_never_shows_a_seal(old: dict[str, object], new: dict[str, object]) -> None:
    """Neither in the value, nor in any form that it is rendered in; and equal documents differ nowhere."""
    assert SECRET not in repr(diff_documents(old, new))
    assert diff_documents(old, old) == ()
    before, after = manifest("a.yaml", "x", **old), manifest("a.yaml", "y", **new)
    stored = with_values(step(EMPTY, desired(before)), before)
    decided = make_plan(desired(after), stored, source="main")
    shown = [repr(plan_to_json(decided)), format_plan_markdown(decided), repr(list(format_plan(decided)))]
    assert not any(SECRET in text for text in shown)
