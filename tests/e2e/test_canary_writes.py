"""Shows 6: a secret given through the API is sealed, or gone: it is nowhere where somebody could read it."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from typing import Any

import yaml

from agentsd.store.embedded.server import attach_server
from tests.e2e.canary import TEMPORARY, Canaries
from tests.e2e.client import Client
from tests.e2e.curl import Curl, Reply
from tests.e2e.home import Home
from tests.e2e.parrot import Parrot
from tests.e2e.peeping import Peeper
from tests.e2e.processes import Process, until
from tests.e2e.test_canary import ask_everything, listening
from tests.files.git.repositories import git

KEPT = ("created", "put", "patched", "hostile", "killed")
"""Secrets of agents that come to be."""

REFUSED: tuple[tuple[str, int, str, str, dict[str, Any]], ...] = (
    ("exists", 409, "POST", "/api/agents", {"slug": "one"}),
    ("unknown field", 422, "PATCH", "/api/agents/one", {"nmae": "x"}),
    (
        "unknown provider",
        422,
        "POST",
        "/api/agents",
        {"slug": "x", "llm_provider_config": {"provider": "nobody"}},
    ),
    (
        "no such field",
        422,
        "POST",
        "/api/agents",
        {"slug": "x", "llm_provider_config": {"provider": "echo.local"}},
    ),
    ("bad slug", 422, "POST", "/api/agents", {"slug": "../evil\r\nx"}),
    ("bad address", 422, "PATCH", "/api/agents/one", {"llm_provider_config": {"api_url": "http://a b"}}),
    ("not there", 404, "PATCH", "/api/agents/nobody", {}),
    ("other user", 422, "POST", "/api/agents", {"slug": "x", "user": "acme"}),
)
"""(secret, status, method, path, body): the secret is put in as the model's key, too."""

ODD = ("list", "object", "field", "malformed", "form", "stale", "draft", "no sops", "loose", "path", "dry")


def make_secrets(home: Home) -> dict[str, str]:
    """A secret of every sort, by what becomes of it."""
    names = (*KEPT, *(name for name, *_ in REFUSED), *ODD)
    return {**{name: secrets.token_hex(24) for name in names}, "identity": home.keys.identity[16:]}


def section(vendor: str, key: object, **fields: object) -> dict[str, Any]:
    """A language model's."""
    base = {"provider": "openai-compatible", "model": "m", "api_url": vendor, "api_key": key}
    return {"llm_provider_config": {**base, **fields}}


def lay(home: Home) -> None:
    """A repository without agents."""
    rule = {"encrypted_regex": "^(api_key)$", "mac_only_encrypted": True, "age": home.keys.recipient}
    (home.repo / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": [rule]}))
    home.write("draft.yaml", "name: Draft\nllm:\n  provider: echo.local\n")
    git(home.repo, "init", "-q", "-b", "main")
    git(home.repo, "add", ".")
    git(home.repo, "commit", "-q", "-m", "first")


async def test_the_canary_of_writes_is_nowhere(home: Home, client: Client) -> None:
    """Neither whole nor in part: in no log, process, file, git object, event, reply, table or note."""
    home.fork = False  # see test_canary.py
    began, secret = time.time(), make_secrets(home)
    canaries = Canaries(secret)
    lay(home)
    peeper = Peeper(
        canaries,
        [home.repo, home.temporary, home.root / "home"],
        lambda: [process.pid for process in home.processes if process.running],
    )
    holders = ("agentsd\0up", "sops\0")
    async with Parrot() as vendor, canaries.watching_processes({"identity": holders}):
        home.env["AGENTSD_TRUSTED_ORIGINS"] = vendor.url
        with peeper.looking():
            await in_git(home, client, canaries, secret, vendor.url)
            await in_files(home, client, canaries, secret, vendor.url)
        assert vendor.keys == {secret[name] for name in ("created", "put", "patched", "hostile", "killed")}
    assert any("intent" in name for name in peeper.names)
    assert any("memfd" in name for name in peeper.names)
    look_in_objects(home, canaries)
    for process in home.processes:
        canaries.look("output of a command", (await process.stop()).said)
    canaries.look_in_files(home.root)
    for folder in TEMPORARY:
        canaries.look_in_files(folder, newer_than=began)
    print(f"\n{len(secret)} secrets, {canaries.places} places, {len(canaries.found)} finds")
    assert canaries.found == set()
    assert canaries.trusted == {"identity"}


async def in_git(home: Home, client: Client, canaries: Canaries, secret: dict[str, str], vendor: str) -> None:
    """Edits made, refused and killed, each told in JSON logs."""
    up, url = await home.up("--write-back", "git", "--log-level", "debug", "--log-format", "json")
    async with listening(url, canaries):
        curl = Looking(url, canaries)
        await curl(201, "POST", "/api/agents", {"slug": "one", **section(vendor, secret["created"])})
        await client.stream(url, "one")
        agent = (await Curl(url)("GET", "/api/agents/one")).json
        await curl(200, "PUT", "/api/agents/one", {**agent, **section(vendor, secret["put"])})
        await client.stream(url, "one")
        stale = (await Curl(url)("GET", "/api/agents/one")).head["etag"]
        await curl(200, "PATCH", "/api/agents/one", section(vendor, secret["patched"], model="n"))
        await client.stream(url, "one")
        name = 'x"\r\n"default": true\r\nSet-Cookie: a=b\u2028 <script>'
        made = await curl(201, "POST", "/api/agents", {"name": name, **section(vendor, secret["hostile"])})
        await client.stream(url, made.json["slug"])
        await dry(curl, section(vendor, secret["dry"], model="d"))
        await refused(curl, secret, vendor)
        await odd(curl, secret, vendor, stale)
        home.edit("draft.yaml", "Draft", "Draft, changed")
        await curl(409, "PATCH", "/api/agents/draft", section(vendor, secret["draft"]))
        await ask_everything(client, url, canaries)
    await killed(home, up, url, canaries, section(vendor, secret["killed"]))


async def dry(curl: Looking, config: dict[str, Any]) -> None:
    """What is shown and not made, and what is refused to be shown."""
    for method, path, body in (
        ("POST", "/api/agents", {"slug": "dry", **config}),
        ("PUT", "/api/agents/one", config),
        ("PATCH", "/api/agents/one", config),
    ):
        told = await curl(200, method, f"{path}?dry_run=true", body)
        assert "ENC[…]" in told.json["diff"]
        await curl(422, method, f"{path}?dry_run=true", {**body, "turn": config["llm_provider_config"]})


async def refused(curl: Looking, secret: dict[str, str], vendor: str) -> None:
    """What breaks a rule, with a secret beside it."""
    for name, status, method, path, body in REFUSED:
        config = section(vendor, secret[name])["llm_provider_config"] | body.get("llm_provider_config", {})
        await curl(status, method, path, {**body, "llm_provider_config": config})


async def odd(curl: Looking, secret: dict[str, str], vendor: str, stale: str) -> None:
    """Secrets where they do not belong, in bodies that are none, and too late."""
    one = "/api/agents/one"
    await curl(422, "PATCH", one, section(vendor, [secret["list"]]))
    await curl(422, "PATCH", one, section(vendor, {"key": secret["object"]}))
    await curl(422, "PATCH", one, {"api_key": secret["field"]})
    await curl(400, "PATCH", one, '{"llm_provider_config": {"api_key": "' + secret["malformed"] + '"')
    await curl(
        415, "PATCH", one, f"api_key={secret['form']}", content_type="application/x-www-form-urlencoded"
    )
    await curl(412, "PATCH", one, section(vendor, secret["stale"]), if_match=stale)
    await curl(422, "PATCH", one, {"turn": {"api_key": secret["loose"]}})
    await curl(422, "PATCH", one, {"system_prompt_file": f"prompts/{secret['path']}.md"})


async def killed(home: Home, up: Process, url: str, canaries: Canaries, body: dict[str, Any]) -> None:
    """The process dies in the middle of a write; the note that it leaves holds what git is to hold."""
    writing = asyncio.create_task(Curl(url)("POST", "/api/agents", {"slug": "two", **body}))
    note = home.agents / ".agentsd-intent.json"

    async def noted() -> bool:
        return note.exists()

    await until(noted, every=0.0005)
    await up.kill()
    await asyncio.gather(writing, return_exceptions=True)
    canaries.look_in_files(home.repo)


async def in_files(
    home: Home, client: Client, canaries: Canaries, secret: dict[str, str], vendor: str
) -> None:
    """What was killed is finished; then a machine without sops, which refuses; told in plain logs."""
    up, url = await home.up("--write-back", "files", "--log-level", "debug", AGENTSD_SOPS="/nonexistent/sops")
    database_url = attach_server(home.data)
    assert database_url
    async with listening(url, canaries):
        await client.stream(url, "two")
        curl = Looking(url, canaries)
        await curl(503, "POST", "/api/agents", {"slug": "three", **section(vendor, secret["no sops"])})
        await curl(503, "PATCH", "/api/agents/one", section(vendor, secret["no sops"], model="o"))
        await ask_everything(client, url, canaries)
        told = await Curl(url)("GET", "/api/audit?limit=100")
        canaries.look("audit", told.everything)
        assert len(told.json["items"]) > len(REFUSED) + 6
    assert canaries.look_in_tables(database_url) > 8
    assert (await up.stop()).code == 0


class Looking:
    """Requests whose replies are searched."""

    def __init__(self, url: str, canaries: Canaries) -> None:
        self._curl = Curl(url)
        self._canaries = canaries

    async def __call__(self, status: int, method: str, path: str, body: Any, **headers: str) -> Reply:
        """The reply, which has this status."""
        reply = await self._curl(method, path, body, **headers)
        assert reply.status == status, (path, body, reply.text)
        self._canaries.look(f"{method} {path}: {status}", reply.everything)
        return reply


def look_in_objects(home: Home, canaries: Canaries) -> None:
    """Every object of the repository, reachable or not, as it is before it is compressed."""
    command = ["git", "cat-file", "--batch-all-objects", "--batch"]
    done = subprocess.run(command, cwd=home.repo, capture_output=True, check=True)
    assert b"ENC[AES256_GCM" in done.stdout
    canaries.look("git objects", done.stdout)
