"""Slow seals are settled beside the rounds: one owner's tarpit holds up nobody's edits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentsd.control import reconcile
from agentsd.control.check import Checker
from agentsd.control.reconcile import Reconciler
from agentsd.core.key_services import KeyServices
from agentsd.providers.catalog import default_catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from tests.control.daemon import daemon
from tests.control.place import Place, echo, groq
from tests.runtime.world import Keys
from tests.sops.services import vault_key, with_block
from tests.vendors.listener import Listener

TOKEN = "hvs.canary-vault-token-7"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as one:
        yield one


@pytest.fixture
def slow(place: Place, database: Database, keys: Keys, listener: Listener) -> Place:
    """A place whose operator names a Vault that never answers; each call of sops has 60 s."""
    environ = {"SOPS_AGE_KEY": keys.identity, "VAULT_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    sops = SopsBinary(environ=environ, timeout=60.0, services=KeyServices.parse([listener.url]))
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent")), sops)
    checker = Checker(default_catalog(), opener, require_mac=True)
    return replace(
        place, reconciler=Reconciler(checker, database), options=replace(place.options, strict=False)
    )


def sealed(keys: Keys, listener: Listener, number: int) -> bytes:
    return with_block(
        keys.seal(groq(number, name=f"N{number}")).encode(), age=None, hc_vault=[vault_key(listener.url)]
    )


async def test_others_edits_go_on(
    slow: Place, keys: Keys, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty files at a tarpit: named as pending, at most two sops for their owner, and edits go through."""
    monkeypatch.setattr(reconcile, "ROUND_PATIENCE", 0.05)
    slow.write({"acme/a.yaml": echo(1)})
    slow.write({f"beta/s{n}.yaml": sealed(keys, listener, 100 + n) for n in range(20)})
    async with daemon(slow) as running:
        assert await slow.slugs() == {"acme/a"}
        monkeypatch.setattr(reconcile, "ROUND_PATIENCE", 3600)  # what is late already is not waited for again
        for reply in ("one", "two", "three"):
            slow.write({"acme/a.yaml": echo(1, reply=reply)})
            report = await running.applied(("update", "acme/a"))
        assert report.outcome is not None
        pending = report.outcome.plan.quarantined
        assert {violation.code for one in pending for violation in one.violations} == {"seal-pending"}
        assert len(pending) == 20
        await asyncio.to_thread(listener.arrived.wait, 10)
        assert listener.connections <= 2
    await slow.reconciler.aclose()


async def test_what_is_settled_late_is_applied(
    place: Place, database: Database, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change of any file, as soon as sops answers."""
    monkeypatch.setattr(reconcile, "ROUND_PATIENCE", 0.05)
    go = tmp_path / "go"
    program = tmp_path / "sops"
    opened = '{"id": "%s", "name": "N7", "llm": {"provider": "groq.com", "api_key": "k", "model": "m"}}'
    text = keys.seal(groq(7, name="N7"))
    number = text.split("id: ")[1].split("\n")[0].strip("'\"")
    body = f"cat >/dev/null; while [ ! -e {go} ]; do sleep 0.02; done; echo '{opened % number}'"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    sops = SopsBinary(program, environ={"PATH": "/usr/bin:/bin"})
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent")), sops)
    checker = Checker(default_catalog(), opener, require_mac=True)
    late = replace(
        place, reconciler=Reconciler(checker, database), options=replace(place.options, strict=False)
    )
    late.write({"acme/a.yaml": text.replace("version: 3.11.0", "version: 3.11.0-rc.1")})
    async with daemon(late) as running:
        assert running.quarantined == ["acme/a.yaml"]
        go.touch()
        await running.applied(("create", "acme/a"))
        assert await late.slugs() == {"acme/a"}
    await late.reconciler.aclose()
