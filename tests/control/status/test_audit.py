"""Audit entries: what is kept, who may read it, and that a write never fails for want of it."""

from __future__ import annotations

import logging

import pytest

from agentsd.control.status.audit import audit_entry_to_json, get_reading_owner, record_action
from agentsd.store.database import Database
from agentsd.store.queries.audit import load_audit_entries


async def test_an_entry_is_kept_whole(database: Database) -> None:
    """Who, what, whom, which file, from which version to which, and how it ended."""
    assert await record_action(
        database,
        "acme/ci",
        "update",
        "acme/sales",
        outcome="done",
        status=200,
        path="acme/sales.yaml",
        from_version=3,
        to_version=4,
        commit="c0ffee",
    )
    async with database.transaction(snapshot=True) as connection:
        (entry,) = await load_audit_entries(connection, limit=9)
    view = audit_entry_to_json(entry)
    assert (view.pop("id"), view.pop("at")) == (entry.id, entry.at)
    assert view == {
        "actor": "acme/ci",
        "action": "update",
        "target": "acme/sales",
        "user": "acme",
        "outcome": "done",
        "status": 200,
        "code": None,
        "path": "acme/sales.yaml",
        "from_version": 3,
        "to_version": 4,
        "commit": "c0ffee",
    }


@pytest.mark.parametrize(
    ("actor", "target", "outcome", "reader"),
    [
        ("acme/ci", "acme/sales", "done", "acme"),
        ("acme/ci", "acme/sales", "refused", "acme"),
        ("default/root", "acme/sales", "done", "acme"),
        ("default/local", "support", "refused", "default"),
        ("beta/ci", "acme/sales", "refused", ""),
        ("beta/ci", "support", "refused", ""),
        ("beta/ci", "acme/sales", "failed", ""),
        ("beta/ci", "", "refused", ""),
    ],
)
def test_who_may_read_of_it(actor: str, target: str, outcome: str, reader: str) -> None:
    """The target's owner; what another owner's user was refused is for admins only."""
    assert get_reading_owner(actor, target, outcome) == reader  # type: ignore[arg-type]


async def test_a_name_out_of_a_path_is_a_slug(database: Database) -> None:
    """An owner's users read of their own slips, which named no agent."""
    await record_action(database, "acme/ci", "update", "acme~nope", outcome="refused", status=404)
    async with database.transaction(snapshot=True) as connection:
        (entry,) = await load_audit_entries(connection, limit=9)
    assert (entry.target, entry.owner) == ("acme/nope", "acme")


async def test_a_store_that_is_away_fails_no_write(caplog: pytest.LogCaptureFixture) -> None:
    """The entry is logged instead, and nothing is raised."""
    database = Database("postgresql://agentsd:hunter2@127.0.0.1:1/agentsd")
    with caplog.at_level(logging.ERROR):
        kept = await record_action(database, "acme/ci", "update", "acme/x\ny", outcome="done", status=200)
    await database.aclose()
    assert not kept
    (line,) = caplog.records
    assert (line.__dict__["error"], line.__dict__["actor"]) == ("StoreUnavailable", "acme/ci")
    assert line.__dict__["target"] == "acme/x\\ny"
    assert "hunter2" not in caplog.text
