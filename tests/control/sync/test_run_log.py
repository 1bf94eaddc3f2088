"""What stays on record of a run."""

from __future__ import annotations

from datetime import UTC, datetime

from agentsd.control.sync.run_log import record_error, record_result
from agentsd.core.errors import InvalidManifests, StoreUnavailable
from agentsd.core.violations import Violation
from agentsd.store.queries.runs import ManifestCondition, SyncRun, list_conditions, list_runs
from tests.control.place import Place, echo

NOW = datetime.now(UTC)


async def recorded(place: Place) -> tuple[list[SyncRun], list[ManifestCondition]]:
    async with place.database.transaction(snapshot=True) as connection:
        return await list_runs(connection), await list_conditions(connection)


async def test_a_run_and_its_conditions(place: Place) -> None:
    """One row a run; Invalid and Suspended manifests by path, until they are in order again."""
    files = {"a.yaml": echo(1, extra="active: false\n"), "b.yaml": "x: [\n", "c.yaml": "name: 1\nx: 2\n"}
    outcome = await place.sync(files, strict=False)
    await record_result(place.database, outcome, place.options, trigger="watch", started_at=NOW)
    (run,), conditions = await recorded(place)
    assert (run.outcome, run.trigger, run.version) == ("applied", "watch", 1)
    assert (run.counts["create"], run.counts["quarantined"]) == (1, 2)
    assert [error["path"] for error in run.errors] == ["b.yaml", "c.yaml", "c.yaml"]
    assert [(c.path, c.type, c.reason) for c in conditions] == [
        ("a.yaml", "Suspended", "Inactive"),
        ("b.yaml", "Invalid", "YamlSyntax"),
        ("c.yaml", "Invalid", "WrongType"),
    ]
    assert conditions[2].message.endswith("(and 1 more)")
    outcome = await place.sync({"a.yaml": echo(1), "b.yaml": None, "c.yaml": None})
    await record_result(place.database, outcome, place.options, trigger="cli", started_at=NOW)
    runs, conditions = await recorded(place)
    assert [run.version for run in runs] == [2, 1]
    assert conditions == []


async def test_a_refusal_and_a_failure(place: Place) -> None:
    """Refused is what the files did, failed what the world did; conditions stay."""
    refused = InvalidManifests([Violation("a.yaml", "null-value", "null", line=3)])
    for error in (refused, StoreUnavailable("away", hint="wait")):
        await record_error(place.database, error, place.options, trigger="cli", started_at=NOW)
    runs, _ = await recorded(place)
    assert [(run.outcome, run.errors[0]["code"]) for run in runs] == [
        ("failed", "StoreUnavailable"),
        ("refused", "null-value"),
    ]
