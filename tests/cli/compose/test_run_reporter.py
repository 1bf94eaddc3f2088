"""The record of a daemon's rounds."""

from __future__ import annotations

import pytest

from agentsd.cli.compose.run_reporter import RunReporter
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import Syncer
from agentsd.core.errors import AgentsdError
from agentsd.store.database import Database
from agentsd.store.queries.runs import list_runs
from tests.control.place import echo, make_checker


async def test_an_edit_of_the_api_is_recorded_as_such(
    database: Database, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round that follows an edit of the API, one that follows a change of files, and one that fails."""
    root, options = tmp_path_factory.mktemp("agents.d"), SyncOptions(strict=False)
    reporter = RunReporter(database, options, "agents.d/")
    syncer = Syncer(root, Reconciler(make_checker(None), database), options, reporter)
    (root / "a.yaml").write_text(echo(1))
    await syncer.round(None)
    (root / "a.yaml").write_text(echo(1, reply="other"))
    async with syncer.turn() as turn:
        await turn.round(["a.yaml"])
    await syncer.refuse(AgentsdError("no"), None)
    await syncer.aclose()
    async with database.transaction(snapshot=True) as connection:
        runs = await list_runs(connection)
    assert [(run.trigger, run.outcome) for run in runs] == [
        ("watch", "failed"),
        ("api", "applied"),
        ("watch", "applied"),
    ]
