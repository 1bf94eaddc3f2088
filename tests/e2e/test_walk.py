"""Shows 1: ``curl`` walks the routes that write, and files, git, sops, Postgres and replies agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from agentsd.store.embedded.server import attach_server
from tests.e2e.checkout import Checkout
from tests.e2e.client import Client
from tests.e2e.curl import PROGRAM, Curl, Reply
from tests.e2e.parrot import Parrot
from tests.e2e.test_up import SAMPLES, names

MASK = "**********"
KEY, NEW_KEY = "sk-walk-31f0a9", "sk-walk-77c2e4"
COLUMNS = ("name", "description", "system_prompt", "is_default", "is_active", "version", "path", "source")


@dataclass
class Walk:
    """One way through the routes."""

    checkout: Checkout
    client: Client
    curl: Curl
    database_url: str
    mode: str

    async def wrote(
        self, reply: Reply, status: int = 200
    ) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """What a write changed in the files, after everything was found to agree with its reply."""
        assert reply.status == status, reply.everything
        told = reply.write_back
        committed = self.mode == "git"
        assert (told["mode"], told["branch"], told["message"]) == (self.mode, None, "")
        assert told["commit"] == (self.checkout.head("%H") if committed else None)
        changes = self.checkout.changed(committed=committed)
        if committed:
            assert self.checkout.git("status", "--porcelain") == ""
        else:
            self.checkout.commit()
        assert self.checkout.litter() == []
        await self._agrees(reply)
        return changes

    async def _agrees(self, reply: Reply) -> None:
        slug = reply.agent["slug"]
        row = self.row(reply.agent["id"])
        models = names(await self.client.get(f"{self.curl.url}/v1/models"))
        if reply.agent.get("deleted"):
            assert row["deleted_at"] is not None
            assert slug not in models
            assert (await self.curl("GET", f"/api/agents/{slug}")).status == 404
            return
        got = await self.curl("GET", f"/api/agents/{slug}")
        assert got.settled == reply.settled
        assert got.head["etag"].split(".")[:2] == reply.head["etag"].split(".")[:2]
        assert slug in models
        assert {name: row[name] for name in COLUMNS} == {name: reply.agent[name] for name in COLUMNS}
        assert row["deleted_at"] is None
        assert masked(row["llm_provider_config"]) == reply.agent["llm_provider_config"]
        file = self.checkout.unsealed(row["path"])
        assert masked(file["llm"], "api_key") == reply.agent["llm_provider_config"]

    def row(self, agent: str) -> dict[str, Any]:
        """The agent in Postgres."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            found = connection.execute("SELECT * FROM agents WHERE id = %s", [UUID(agent)]).fetchone()
        assert found
        return found


def masked(section: dict[str, Any], *secrets: str) -> dict[str, Any]:
    """A section as replies give it."""
    hidden = {name for name, value in section.items() if name in secrets or str(value).startswith("ENC[")}
    return {name: MASK if name in hidden else value for name, value in section.items()}


@pytest.mark.parametrize("mode", ["files", "git"])
async def test_the_seven_routes(checkout: Checkout, client: Client, vendor: Parrot, mode: str) -> None:
    """list, create, get, update, set-default, current, rollback, delete: each edit as small as it can be."""
    up, url = await checkout.home.up("--write-back", mode)
    database_url = attach_server(checkout.home.data)
    assert database_url
    walk = Walk(checkout, client, Curl(url), database_url, mode)
    listed = (await walk.curl("GET", "/api/agents")).json
    assert {agent["slug"] for agent in listed["items"]} == SAMPLES

    created = await creates(walk, vendor)
    await updates(walk, vendor, created)
    await moves_the_default(walk)
    await comes_and_goes(walk, created)
    done = await up.stop()
    assert (done.code, "Traceback" in done.err) == (0, False), done.said
    assert KEY not in done.said


async def creates(walk: Walk, vendor: Parrot) -> Reply:
    """A new file, in the order that people write, its secret sealed; nothing else is touched."""
    section = {"provider": "openai-compatible", "api_key": KEY, "model": "one", "api_url": vendor.url}
    body = {"name": "Front Desk", "system_prompt": "Be kind.\nBe brief.\n", "llm_provider_config": section}
    reply = await walk.curl("POST", "/api/agents", body)
    changes = await walk.wrote(reply, 201)
    assert reply.head["location"] == "/api/agents/front-desk"
    assert reply.agent["llm_provider_config"] == {**section, "api_key": MASK}
    ((path, (removed, added)),) = changes.items()
    assert (path, removed) == ("front-desk.yaml", ())
    assert [line for line in added[:12] if not line.startswith("  api_key: ENC[AES256_GCM")] == [
        "# yaml-language-server: $schema=../schemas/agent.schema.json",
        f"id: {reply.agent['id']}",
        "name: Front Desk",
        "system_prompt: |",
        "  Be kind.",
        "  Be brief.",
        "llm:",
        "  provider: openai-compatible",
        "  model: one",
        f"  api_url: {vendor.url}",
        "sops:",
    ]
    assert walk.checkout.unsealed(path)["llm"]["api_key"] == KEY
    assert (await walk.client.stream(walk.curl.url, "front-desk")).words[0] == "one "
    assert vendor.keys == {KEY}
    return reply


async def updates(walk: Walk, vendor: Parrot, created: Reply) -> None:
    """PUT of what GET gave, with one field changed; PATCH of a text; PATCH of a secret; rollback."""
    agent = (await walk.curl("GET", "/api/agents/front-desk")).json
    same = await walk.curl("PUT", "/api/agents/front-desk", agent)
    assert (same.status, same.write_back["message"]) == (200, "nothing to change")
    assert same.settled == (await walk.curl("GET", "/api/agents/front-desk")).settled

    agent["llm_provider_config"]["model"] = "two"
    changes = await walk.wrote(await walk.curl("PUT", "/api/agents/front-desk", agent))
    assert changes == {"front-desk.yaml": (("  model: one",), ("  model: two",))}
    assert (await walk.client.stream(walk.curl.url, "front-desk")).words[0] == "two "
    assert vendor.keys == {KEY}

    patched = await walk.curl("PATCH", "/api/agents/front-desk", {"description": "At the door: 24 h"})
    changes = await walk.wrote(patched)
    assert changes == {"front-desk.yaml": ((), ('description: "At the door: 24 h"',))}

    secret = {"llm_provider_config": {"api_key": NEW_KEY}}
    changes = await walk.wrote(await walk.curl("PATCH", "/api/agents/front-desk", secret))
    for lines in changes.pop("front-desk.yaml"):
        fields = {line.split(":")[0].strip() for line in lines}
        assert fields - {"lastmodified"} == {"api_key", "mac"}, "in the same second it stays"
    assert changes == {}
    assert walk.checkout.unsealed("front-desk.yaml")["llm"]["api_key"] == NEW_KEY
    assert (await walk.client.stream(walk.curl.url, "front-desk")).words[0] == "two "
    assert vendor.keys == {KEY, NEW_KEY}

    back = {"version": created.agent["version"]}
    rolled = await walk.curl("POST", "/api/agents/front-desk/rollback", back)
    changes = await walk.wrote(rolled)
    assert list(changes) == ["front-desk.yaml"]
    assert rolled.agent["digest"] == created.agent["digest"]
    assert rolled.agent["version"] > patched.agent["version"]
    assert walk.checkout.unsealed("front-desk.yaml")["llm"]["api_key"] == KEY
    assert (await walk.client.stream(walk.curl.url, "front-desk")).words[0] == "one "


async def moves_the_default(walk: Walk) -> None:
    """One line in each of two files; ``current`` follows."""
    assert (await walk.curl("GET", "/api/agents/current")).json["slug"] == "assistant"
    changes = await walk.wrote(await walk.curl("POST", "/api/agents/front-desk/set-default"))
    assert changes == {
        "assistant.yaml": (("default: true",), ()),
        "front-desk.yaml": ((), ("default: true",)),
    }
    current = await walk.curl("GET", "/api/agents/current")
    assert (current.json["slug"], current.json["is_default"]) == ("front-desk", True)
    with psycopg.connect(walk.database_url) as connection:
        defaults = connection.execute("SELECT slug FROM agents WHERE is_default ORDER BY slug").fetchall()
    assert defaults == [("acme/sales",), ("front-desk",)]  # one for each owner


async def comes_and_goes(walk: Walk, created: Reply) -> None:
    """DELETE removes the file and nothing else; the other samples are as they were."""
    before = walk.checkout.read()
    deleted = await walk.curl("DELETE", "/api/agents/front-desk", if_match="*")
    changes = await walk.wrote(deleted)
    assert deleted.agent["id"] == created.agent["id"]
    assert [(path, added) for path, (_, added) in changes.items()] == [("front-desk.yaml", ())]
    after = walk.checkout.read()
    assert {path: data for path, data in before.items() if path != "front-desk.yaml"} == after
    assert {**walk.checkout.files, "assistant.yaml": after["assistant.yaml"]} == after
    assert (await walk.curl("GET", "/api/agents/current")).json["slug"] != "front-desk"


async def test_without_curl(checkout: Checkout) -> None:
    """The same requests by Python's own client, which stands in where there is no curl."""
    _, url = await checkout.home.up()
    for program in {None, PROGRAM}:
        curl = Curl(url, program=program)
        changed = await curl("PATCH", "/api/agents/writer", {"name": f"By {program}"})
        assert (changed.status, changed.json["name"]) == (200, f"By {program}")
        assert changed.head["content-type"].startswith("application/json")
