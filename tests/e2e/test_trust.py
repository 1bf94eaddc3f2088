"""Show 8: a secret goes only where it belongs, and is one owner's: in validate, in sync, in the runtime."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import uuid4

import pytest

from agentsd.store.database import Database
from tests.e2e.client import Broken, Client
from tests.e2e.home import Home
from tests.e2e.parrot import Parrot
from tests.e2e.processes import until
from tests.runtime.world import World, text_of

KEY = "sk-trust-91ab"


def misdirected(home: Home, place: str) -> str:
    """A vendor's key, on its way to another origin."""
    lines = ["llm:", "  provider: groq.com", f"  api_key: {KEY}", "  model: m", f"  api_url: {place}"]
    return home.keys.seal("\n".join([f"id: {uuid4()}", *lines, ""]))


def copied(sealed: str) -> str:
    """The same sealed value in another agent's manifest."""
    return f"id: {uuid4()}\n" + "".join(sealed.splitlines(keepends=True)[1:])


def codes(output: str) -> set[str]:
    """The codes of the errors in a JSON report."""
    return {found["code"] for found in json.loads(output)["violations"] if found["severity"] == "error"}


@pytest.mark.parametrize("wrong", ["secret-destination", "seal-reused"])
async def test_refused_by_validate_and_sync(home: Home, database_url: str, wrong: str) -> None:
    """Both name the rule and exit with 1, with and without a key; nothing at all is applied."""
    env = {"AGENTSD_DATABASE_URL": database_url, "AGENTSD_TRUSTED_ORIGINS": "http://127.0.0.1:9"}
    sealed = home.keys.seal(text_of("http://127.0.0.1:9", key=KEY))
    home.write("acme/good.yaml", sealed)
    if wrong == "seal-reused":
        home.write("evil/bad.yaml", copied(sealed))
    else:
        home.write("evil/bad.yaml", misdirected(home, "http://127.0.0.1:10"))
    for keys in ({}, {"SOPS_AGE_KEY": ""}):
        validated = await home.run("validate", "--format", "json", **env, **keys)
        synced = await home.run("sync", "--format", "json", **env, **keys)
        assert (validated.code, codes(validated.out)) == (1, {wrong}), validated.said
        assert (synced.code, codes(synced.out)) == (1, {wrong}), synced.said
        assert KEY not in validated.said + synced.said
    shown = await home.run("status", "--format", "json", **env)
    assert (json.loads(shown.out)["version"], json.loads(shown.out)["agents"]) == (0, 0)


async def test_a_seal_stays_its_first_owners(home: Home, database_url: str) -> None:
    """Also when the file that brought it is long gone: history counts."""
    env = {"AGENTSD_DATABASE_URL": database_url, "AGENTSD_TRUSTED_ORIGINS": "http://127.0.0.1:9"}
    sealed = home.keys.seal(text_of("http://127.0.0.1:9", key=KEY))
    file = home.write("acme/good.yaml", sealed)
    assert (await home.run("sync", **env)).code == 0
    file.unlink()
    home.write("evil/bad.yaml", copied(sealed))
    synced = await home.run("sync", "--allow-mass-delete", "--format", "json", **env)
    assert (synced.code, codes(synced.out)) == (1, {"seal-reused"})


async def test_refused_by_the_runtime(
    home: Home, client: Client, database: Database, database_url: str
) -> None:
    """Rows that no sync let pass: the runtime says which rule they break, and no vendor sees the key.

    A good agent whose new version breaks a rule goes on with its old one.
    """
    rows = World(database, *cast("Any", (None, None, None)))
    async with Parrot() as vendor, Parrot() as stranger:
        good = home.keys.seal(text_of(vendor.url, model="good", key=KEY))
        await rows.put(acme__good=good)
        await rows.put(evil__thief=copied(good), evil__lost=misdirected(home, stranger.url))
        serve, url = await home.serve(database_url, AGENTSD_TRUSTED_ORIGINS=vendor.url)
        for slug, reason in (("evil~thief", "SealReused"), ("evil~lost", "SecretDestination")):
            with pytest.raises(Broken, match="cannot run"):
                await client.say(url, slug)
            found = await client.get(f"{url}/api/agents/{slug}")
            assert (found["condition"]["type"], found["condition"]["reason"]) == ("Invalid", reason)
        assert (vendor.keys, stranger.keys) == (set(), set())

        turned = good.replace(vendor.url, stranger.url)
        assert turned != good
        await rows.put(acme__good=turned)

        async def refused() -> bool:
            condition = (await client.get(f"{url}/api/agents/acme~good"))["condition"]
            return (condition["type"], condition["reason"]) == ("Degraded", "SecretDestination")

        await until(refused)
        assert set((await client.stream(url, "acme/good")).words) == {"good "}
        assert (vendor.keys, stranger.keys) == ({KEY}, set())
        shown = await home.run("status", AGENTSD_DATABASE_URL=database_url)
        assert KEY not in shown.said + (await serve.stop()).said
