"""What revisions changed, agents that outlive their files, and drift on record, through the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.control.sync.run_log import record_result
from agentsd.files.tree import read_tree
from agentsd.web.rest.agents import revisions
from agentsd.web.views.pagination import encode_place
from tests.web.conftest import CANARY, Make, Stack, echo, vendor_manifest


@pytest.fixture
async def writing(make: Make) -> Stack:
    """A replica that writes files."""
    return await make(write_back="files")


async def test_what_changed(writing: Stack) -> None:
    """Field by field; a secret as that it did; a prompt as a line diff; nothing for the first."""
    stack = writing
    stack.write(
        "a.yaml", vendor_manifest("https://llm.example", prompt='"Be kind.\\nBe short."'), sealed=True
    )
    await stack.sync()
    stack.write(
        "a.yaml",
        vendor_manifest("https://llm.example", prompt='"Be kind.\\nBe long."', key=f"{CANARY}-2"),
        sealed=True,
    )
    await stack.sync()
    status, page = await stack.get("/api/agents/a/revisions?diff=true")
    assert status == 200
    assert page["items"][1]["changes"] is None
    changes: dict[str, Any] = {one["field"]: one for one in page["items"][0]["changes"]}
    assert changes["llm.api_key"] == {"operation": "change", "field": "llm.api_key", "secret": "resealed"}
    assert {"-Be short.", "+Be long."} <= set(changes["system_prompt"]["lines"])
    nothing = {"items": [], "next_cursor": None}
    first = encode_place("revision", 0)
    assert await stack.get(f"/api/agents/a/revisions?diff=true&cursor={first}") == (200, nothing)
    _, one = await stack.get("/api/agents/a/revisions?diff=true&limit=1")
    assert one["items"] == page["items"][:1]
    assert "changes" not in (await stack.get("/api/agents/a/revisions"))[1]["items"][0]
    assert (await stack.get("/api/agents/a/revisions?diff=maybe"))[0] == 400


async def test_an_orphaned_agent_is_deleted_by_name(writing: Stack) -> None:
    """Its file is gone, it is served on, and an explicit delete is the end of it; PUT keeps ``prune``."""
    stack = writing
    stack.write("a.yaml", echo("A") + "prune: false\n")
    stack.write("b.yaml", echo("B"))
    await stack.sync()
    _, agent = await stack.get("/api/agents/a")
    status, _ = await stack.ask("PUT", "/api/agents/a", json=agent | {"name": "New"})
    assert status == 200
    assert "prune: false" in (stack.root / "a.yaml").read_text()
    (stack.root / "a.yaml").unlink()
    stack.write("b.yaml", echo("B2"))
    await stack.sync()
    assert (await stack.get("/api/agents/a"))[0] == 200
    status, gone = await stack.ask("DELETE", "/api/agents/a")
    assert (status, gone["deleted"]) == (200, True), gone
    assert (await stack.get("/api/agents/a"))[0] == 404
    assert (await stack.get("/api/agents/b"))[0] == 200


async def test_drift_is_on_record(writing: Stack) -> None:
    """In the run that healed it."""
    stack = writing
    stack.write("a.yaml", echo("A"))
    await stack.sync()
    async with stack.database.transaction() as connection:
        await connection.execute("UPDATE agents SET name = 'Hacked'")
    stack.reconciler.forget()
    outcome = await stack.reconciler.sync(read_tree(stack.root), SyncOptions())
    now = datetime.now(UTC)
    await record_result(stack.database, outcome, SyncOptions(), trigger="resync", started_at=now)
    _, sync = await stack.get("/api/sync")
    (drift,) = sync["runs"][0]["drift"]
    assert drift["fields"] == [{"operation": "change", "field": "name", "old": "Hacked", "new": "A"}]


async def test_a_page_of_large_revisions_is_shorter_and_nothing_is_lost(
    writing: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer's request for 100 of them took 36 s of the event loop."""
    stack = writing
    monkeypatch.setattr(revisions, "PAGE_BYTES", 20_000)
    for number in range(7):
        lines = "".join(f"    {line * (number + 3) % 997}\n" for line in range(1_700))
        stack.write("a.yaml", f"name: A\nllm:\n  provider: echo.local\nsystem_prompt: |\n{lines}")
        await stack.sync()
    seen: list[int] = []
    cursor = ""
    while True:
        status, page = await stack.get(f"/api/agents/a/revisions?diff=true&limit=100{cursor}")
        assert status == 200
        assert 1 <= len(page["items"]) < 5
        seen += [one["version"] for one in page["items"]]
        lines = [one["changes"] for one in page["items"] if one["changes"]]
        assert all(len(change["lines"]) <= 201 for changes in lines for change in changes)
        if page["next_cursor"] is None:
            break
        assert page["next_cursor"] == encode_place("revision", seen[-1])
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)
