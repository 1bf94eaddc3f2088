"""GET /api/sync/plan: looks, tells, and does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentsd.control.sync.planner import Planner
from agentsd.control.sync.reconciler import Reconciler, SyncOptions, SyncResult
from agentsd.control.validation.checker import Checker
from agentsd.core.text.render import plan_to_json
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import Catalog
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.web.openapi.document import make_document
from tests.web.conftest import CANARY, Keys, Make, Stack, echo, vendor_manifest
from tests.web.openapi.test_document import check
from tests.web.people import ADMIN, ALICE, settle

PLAN = "/api/sync/plan"


@pytest.fixture
def planner(database: Database, tmp_path: Path, keys: Keys, catalog: Catalog) -> Planner:
    """Of the tree that ``stack`` writes, by the rules that it syncs by."""
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, tmp_path), None)
    return Planner(
        tmp_path / "agents.d", lambda: Reconciler(Checker(catalog, opener), database), SyncOptions()
    )


@pytest.fixture
async def seeing(make: Make, planner: Planner) -> Stack:
    """A replica that has a folder."""
    return await make(planner=planner)


async def plan_of(stack: Stack) -> dict[str, Any]:
    """The whole reply, which is as the document describes it."""
    status, told = await stack.get(PLAN)
    assert status == 200
    return dict(told)


async def test_it_is_what_the_command_prints(seeing: Stack, catalog: Catalog) -> None:
    """Creates, updates with their fields, deletes; nothing is applied, recorded or bumped."""
    seeing.write("stays.yaml", echo("Stays"))
    seeing.write("goes.yaml", echo("Goes"))
    seeing.write("other.yaml", echo("Other"))
    before = await seeing.sync()
    assert (await plan_of(seeing))["plan"]["empty"] is True
    seeing.write("stays.yaml", echo("Stays").replace("You are Stays", "You remain"))
    seeing.write("comes.yaml", echo("Comes"))
    (seeing.root / "goes.yaml").unlink()
    told = await plan_of(seeing)
    expected = await seeing.reconciler.plan(read_tree(seeing.root), SyncOptions())
    assert told["plan"] == told["plan"] | plan_to_json(expected.plan)
    operations = {one["slug"]: one["operation"] for one in told["plan"]["changes"]}
    assert operations == {"stays": "update", "comes": "create", "goes": "delete"}
    (field,) = next(one for one in told["plan"]["changes"] if one["slug"] == "stays")["fields"]
    assert (field["field"], field["new"]) == ("system_prompt", "You remain.")
    assert told["guard"] is None
    assert check(make_document(catalog), "PlanReply", told) == []
    _, sync = await seeing.get("/api/sync")
    assert (sync["version"], sync["runs"]) == (before, [])
    assert sync["replica"] == sync["replicas"][0]["id"]


async def test_secrets_stay_out(seeing: Stack) -> None:
    """A sealed value that changes is named and not shown; one that was written into the row neither."""
    seeing.write("s.yaml", vendor_manifest("https://vendor.example"), sealed=True)
    await seeing.sync()
    seeing.write("s.yaml", vendor_manifest("https://vendor.example", key=f"{CANARY}-2"), sealed=True)
    told = await plan_of(seeing)  # ``get`` searches it for either form
    fields = told["plan"]["changes"][0]["fields"]
    assert [(one["field"], one["secret"]) for one in fields] == [
        ("llm.api_key", "changed"),
        ("llm.api_url", "resealed"),
    ]


async def test_drift_shows(seeing: Stack) -> None:
    """A row that somebody edited by hand, though neither the store's version nor a file changed."""
    seeing.write("a.yaml", echo("Ann"))
    await seeing.sync()
    await plan_of(seeing)
    async with seeing.database.transaction() as connection:
        await connection.execute("UPDATE agents SET name = 'Mallory'")
    (change,) = (await plan_of(seeing))["plan"]["changes"]
    (field,) = change["fields"]
    assert (change["operation"], field["old"], field["new"]) == ("heal", "Mallory", "Ann")


async def test_a_broken_file_is_set_aside_and_told(seeing: Stack) -> None:
    """With line, column and what to do; the others are planned."""
    seeing.write("bad.yaml", "name: Bad\nllm:\n  provider: ecko.local\n")
    seeing.write("good.yaml", echo("Good"))
    plan = (await plan_of(seeing))["plan"]
    assert [one["slug"] for one in plan["changes"]] == ["good"]
    ((violation,),) = [one["violations"] for one in plan["quarantined"]]
    assert (violation["path"], violation["line"], violation["column"]) == ("bad.yaml", 3, 13)
    assert "echo.local" in violation["hint"]


async def test_a_mass_deletion_is_planned_and_said_to_be_held_back(seeing: Stack) -> None:
    """What a daemon would refuse is to be seen as a whole."""
    for number in range(6):
        seeing.write(f"a{number}.yaml", echo(f"A{number}"))
    await seeing.sync()
    for number in range(5):
        (seeing.root / f"a{number}.yaml").unlink()
    told = await plan_of(seeing)
    assert told["plan"]["summary"]["delete"] == told["guard"]["removes"] == 5


async def test_where_there_are_no_files(make: Make, planner: Planner) -> None:
    """Said as such: without a planner, and without a folder."""
    blind = await make()
    assert (await plan_of(blind))["available"] is False
    seeing = await make(planner=planner)
    seeing.root.rmdir()
    told = await plan_of(seeing)
    assert told["available"] is False
    assert "is not a folder" in told["why"]


async def test_only_admins_see_it(make: Make, planner: Planner) -> None:
    """It names every owner's files."""
    town = await make(planner=planner)
    await settle(town)
    assert (await town.get(PLAN, headers=ALICE.headers))[0] == 403
    assert (await town.get(PLAN, headers=ADMIN.headers))[0] == 200


class Slow(Reconciler):
    """Plans when it is let."""

    def __init__(self, checker: Checker, database: Database, gate: asyncio.Event) -> None:
        super().__init__(checker, database)
        self._gate = gate
        self.asked = asyncio.Event()

    async def plan(self, *given: Any, **named: Any) -> SyncResult:
        """As ever, later."""
        self.asked.set()
        await self._gate.wait()
        return await super().plan(*given, **named)


@asynccontextmanager
async def slow(
    database: Database, tmp_path: Path, catalog: Catalog, *, patience: float = 30.0
) -> AsyncIterator[tuple[Planner, Callable[[], list[Slow]], asyncio.Event]]:
    """A planner, its reconcilers so far, and what lets them plan."""
    root, gate = tmp_path / "agents.d", asyncio.Event()
    root.mkdir(exist_ok=True)
    made: list[Slow] = []

    def build() -> Reconciler:
        made.append(Slow(Checker(catalog, Opener(find_identities({}, tmp_path), None)), database, gate))
        return made[-1]

    planner = Planner(root, build, SyncOptions(), patience=patience)
    try:
        yield planner, lambda: made, gate
    finally:
        await planner.aclose()


async def test_one_look_serves_all_who_ask(database: Database, tmp_path: Path, catalog: Catalog) -> None:
    """Also one whose first asker left; the next look is a new one."""
    async with slow(database, tmp_path, catalog) as (planner, made, gate):
        first, second = asyncio.create_task(planner.look()), asyncio.create_task(planner.look())
        while not made():
            await asyncio.sleep(0)
        await made()[0].asked.wait()
        first.cancel()
        gate.set()
        assert (await second).outcome.plan.empty
        assert first.cancelled()
        assert len(made()) == 1
        await planner.look()
        assert len(made()) == 2


async def test_a_look_has_an_end(database: Database, tmp_path: Path, catalog: Catalog) -> None:
    """A store that keeps it waiting does not do so for ever; and closing ends it at once."""
    async with slow(database, tmp_path, catalog, patience=0.01) as (planner, _, _):
        with pytest.raises(TimeoutError):
            await planner.look()
    async with slow(database, tmp_path, catalog) as (planner, _, _):
        looking = asyncio.create_task(planner.look())
        await asyncio.sleep(0)
        await planner.aclose()
        with pytest.raises(asyncio.CancelledError):
            await looking
