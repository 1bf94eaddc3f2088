"""Rounds: who asked for one is on record, and reports come one after the other."""

from __future__ import annotations

import asyncio

from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import RoundReport, Syncer
from tests.control.place import Place, echo, make_checker
from tests.runtime.world import Keys


async def test_reports_name_the_trigger_and_keep_their_order(place: Place, keys: Keys) -> None:
    """A slow report of an edit holds up neither that edit nor comes after the next round's."""
    heard: list[tuple[str, int | None]] = []
    slow = asyncio.Event()

    async def hear(report: RoundReport) -> None:
        if report.trigger == "api":
            await slow.wait()
        assert report.outcome is not None
        heard.append((report.trigger, report.outcome.head.version if report.outcome.head else None))

    reconciler = Reconciler(make_checker(keys), place.database)
    syncer = Syncer(place.root, reconciler, SyncOptions(), hear)
    place.write({"a.yaml": echo(1)})
    await syncer.round(None)
    place.write({"a.yaml": echo(1, reply="by the API")})
    async with syncer.turn() as turn:
        edited = await turn.round(["a.yaml"])
    assert (edited.trigger, heard) == ("api", [("watch", 1)])
    place.write({"a.yaml": echo(1, reply="by hand")})
    later = asyncio.create_task(syncer.round(frozenset({"a.yaml"})))
    await asyncio.sleep(0)
    slow.set()
    await later
    await syncer.aclose()
    assert heard == [("watch", 1), ("api", 2), ("watch", 3)]
