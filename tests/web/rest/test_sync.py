"""/api/sync: what runs changed and who caused them, and what is served of a refused file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.control.sync.run_log import record_result
from agentsd.files.tree import read_tree
from agentsd.web.views.run_changes import CHANGES_SHOWN
from tests.web.conftest import Make, Stack, echo


async def run(stack: Stack) -> None:
    """A round on record, as the daemon's are."""
    options, started = SyncOptions(strict=False), datetime.now(UTC)
    outcome = await stack.reconciler.sync(read_tree(stack.root), options)
    await record_result(stack.database, outcome, options, trigger="watch", started_at=started)
    while outcome.head and stack.registry.snapshot.version < outcome.head.version:
        await stack.get("/readyz")


async def runs(stack: Stack) -> list[dict[str, Any]]:
    """As the page reads them."""
    found: list[dict[str, Any]] = (await stack.get("/api/sync"))[1]["runs"]
    return found


async def test_runs_name_what_they_changed_and_who(make: Make) -> None:
    """Each agent with its operation, the first of many, and the user of an edit; also read again."""
    stack = await make(write_back="files")
    stack.write("a.yaml", echo("A"))
    stack.write("acme/b.yaml", echo("B"))
    await run(stack)
    for number in range(CHANGES_SHOWN + 3):
        stack.write(f"many/a{number:02}.yaml", echo("One of many"))
    (stack.root / "acme/b.yaml").unlink()
    stack.write("a.yaml", echo("Another"))
    await run(stack)
    for _ in range(2):
        newest, first = await runs(stack)
        assert [(one["operation"], one["slug"]) for one in first["changes"]] == [
            ("create", "a"), ("create", "acme/b"),
        ]  # fmt: skip
        assert (first["actor"], first["changes"][0]["commit"]) == (None, None)
        assert len(newest["changes"]) == CHANGES_SHOWN
        assert ("update", "a") in [(one["operation"], one["slug"]) for one in newest["changes"]]
        assert newest["counts"]["create"] == CHANGES_SHOWN + 3
    status, edited = await stack.ask("PATCH", "/api/agents/a", json={"description": "Mine."})
    assert status == 200
    _, page = await stack.get("/api/agents/a/revisions")
    assert [one["actor"] for one in page["items"]] == ["default/local", None, None]
    assert page["items"][0]["version"] == edited["version"]
    assert [one["trigger"] for one in page["items"]][1:] == ["watch", "watch"]


async def test_refused_files_name_what_is_served(stack: Stack) -> None:
    """The version before it; null where there is no agent yet."""
    stack.write("a.yaml", echo("A"))
    await run(stack)
    stack.write("a.yaml", "name: A\nllm: {provider: nobody}\n")
    stack.write("new.yaml", "name: [\n")
    await run(stack)
    _, found = await stack.get("/api/sync")
    told = {one["path"]: one["serving_version"] for one in found["conditions"]}
    assert told == {"a.yaml": stack.registry.snapshot.version, "new.yaml": None}
