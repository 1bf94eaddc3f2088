"""Show 7: a secret is nowhere but in a runtime's memory and with the vendor that it is for."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
import yaml

from agentsd.store.embedded.server import attach_server
from tests.e2e.canary import TEMPORARY, Canaries, needles
from tests.e2e.client import Client
from tests.e2e.home import Home
from tests.e2e.parrot import Parrot
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer

LLMS = ("openai-compatible", "openai.com", "groq.com", "mistral.ai", "openrouter.ai")
SPEAKERS = {"tts": {"provider": "elevenlabs.io", "voice_id": "v"}, "stt": {"provider": "deepgram.com"}}
COMMANDS = (
    *(f"validate --format {form}" for form in ("text", "json", "github", "sarif")),
    *(f"plan --format {form}" for form in ("text", "json", "markdown")),
    *("sync --format text", "sync --format json", "status", "status --format json", "doctor"),
)
PATHS = (
    *("/v1/models", "/api/agents", "/api/agents/current", "/api/sync", "/api/providers", "/metrics"),
    *("/readyz", "/healthz", "/openapi.json", "/nothing", "/v1/models/nothing"),
)


def make_secrets(home: Home) -> dict[str, str]:
    """A secret of every sort, by what it is for."""
    names = [*LLMS, *SPEAKERS, "wrong", "path", "unfit", "plain", "typed", "password", "token"]
    made = {name: secrets.token_hex(24) for name in names}
    return {**made, "identity": home.keys.identity[16:]}  # without what every age key begins with


def manifest(**sections: object) -> str:
    """A plain manifest."""
    return yaml.safe_dump({"id": str(uuid4()), **sections}, sort_keys=False)


def llm(provider: str, key: str, url: str, **fields: str) -> dict[str, str]:
    """A section for a language model."""
    return {"provider": provider, "api_key": key, "model": "m", "api_url": url, **fields}


def lay(home: Home, secret: dict[str, str], vendor: str, refuser: str) -> list[str]:
    """Plain manifests, to be sealed; says which."""
    rule = {"mac_only_encrypted": True, "age": home.keys.recipient}
    sealed_url = {"path_regex": r"(path|unfit)\.yaml$", "encrypted_regex": "^(api_key|api_url)$", **rule}
    rules = [sealed_url, {"encrypted_regex": "^(api_key)$", **rule}]
    (home.repo / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": rules}))
    for name in LLMS:
        home.write(f"{name.partition('.')[0]}.yaml", manifest(llm=llm(name, secret[name], vendor)))
    home.write("acme/refused.yaml", manifest(llm=llm("groq.com", secret["wrong"], refuser)))
    home.write(
        "path.yaml", manifest(llm=llm("groq.com", secret["path"], f"http://127.0.0.1:9/{secret['path']}"))
    )
    voices = {kind: {**section, "api_key": secret[kind]} for kind, section in SPEAKERS.items()}
    home.write("voice.yaml", manifest(llm={"provider": "echo.local"}, **voices))
    return [str(path.relative_to(home.repo)) for path in sorted(home.agents.rglob("*.yaml"))]


@asynccontextmanager
async def listening(url: str, canaries: Canaries) -> AsyncIterator[None]:
    """Look at everything that /api/events tells meanwhile."""

    async def listen() -> None:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/api/events") as response:
            async for line in response.content:
                canaries.look("events", line)

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ask_everything(client: Client, url: str, canaries: Canaries, token: str = "") -> set[str]:
    """Every reply of the API, good and bad; says which agents there are."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    listed = (await client.raw("GET", f"{url}/v1/models", headers=headers))[1]
    slugs = {line for line in yaml.safe_load(listed.rpartition("\n")[2])["data"] for line in [line["id"]]}
    of_agents = [f"/api/agents/{s.replace('/', '~')}{rest}" for s in slugs for rest in ("", "/revisions")]
    for path in (*PATHS, *of_agents):
        canaries.look(f"GET {path}", (await client.raw("GET", url + path, headers=headers))[1])
    for method, path in (
        ("PUT", "/api/agents/groq"),
        ("POST", "/api/agents"),
        ("DELETE", "/api/agents/groq"),
    ):
        canaries.look(
            f"{method} {path}", (await client.raw(method, url + path, headers=headers, json={"a": 1}))[1]
        )
    for slug in slugs:
        for stream in (False, True):
            body = {"model": slug, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
            reply = await client.raw("POST", f"{url}/v1/chat/completions", headers=headers, json=body)
            canaries.look(f"chat with {slug}", reply[1])
    bad = await client.raw("POST", f"{url}/v1/chat/completions", headers=headers, data=b"{no")
    canaries.look("chat that is no JSON", bad[1])
    return slugs


async def test_the_canary_is_nowhere(home: Home, client: Client) -> None:
    """Logs, commands, replies, events, metrics, files, processes, tables and Postgres' log hold no secret.

    Neither do they hold its first characters, in base64 or hex; while the vendors did get it.
    """
    home.fork = False  # what the system shows of a process is looked at: its command line and environment
    began = time.time()
    secret = make_secrets(home)
    canaries = Canaries(secret)
    ours = ("agentsd", "sops")
    async with Parrot() as vendor, OpenAIServer(fault=Fault.UNAUTHORIZED) as refuser:
        home.env["AGENTSD_TRUSTED_ORIGINS"] = f"{vendor.url},{refuser.url}"
        async with canaries.watching_processes({"identity": ours, "password": ours}):
            await author(home, secret, vendor.url, refuser.url)
            await live(home, client, canaries, secret)
        assert vendor.keys >= {secret[name] for name in LLMS}
        shown = {received.headers["authorization"] for received in refuser.requests}
        assert shown == {f"Bearer {secret['wrong']}"}
    for process in home.processes:
        canaries.look("output of a command", (await process.stop()).said)
    (home.root / "tokens").unlink()
    canaries.look_in_files(home.root)
    for folder in TEMPORARY:
        canaries.look_in_files(folder, newer_than=began)
    print(f"\n{len(secret)} secrets, {canaries.places} places, {len(canaries.found)} finds")
    assert canaries.found == set()
    assert canaries.trusted == {"identity", "password"}


async def author(home: Home, secret: dict[str, str], vendor: str, refuser: str) -> None:
    """Secrets come in by ``seal``, ``new`` and ``edit``."""
    files = lay(home, secret, vendor, refuser)
    sealed = await home.run("seal", *files)
    assert sealed.code == 0, sealed.said
    new = await home.run(
        *("new", "typed", "--llm", "groq.com", "--set", f"llm.api_url={vendor}", "--set", "llm.model=m"),
        typed=secret["typed"] + "\n",
    )
    assert new.code == 0, new.said
    edited = await home.run("edit", "groq", EDITOR="sed -i s/model:.m/model:\\ q/")
    assert (edited.code, "updated" in edited.err) == (0, True), edited.said


async def live(home: Home, client: Client, canaries: Canaries, secret: dict[str, str]) -> None:
    """The agents run, are asked, break, and are looked at with every command."""
    up, url = await home.up("--log-format", "json", "--log-level", "debug", "--write-back", "off")
    database_url = attach_server(home.data)
    assert database_url
    async with listening(url, canaries):
        slugs = await ask_everything(client, url, canaries)
        assert slugs >= {"acme/refused", "groq", "path", "typed", "voice"}
        assert "m" in await client_text(client, url, "typed")
        home.write("bad.yaml", manifest(llm=llm("groq.com", secret["plain"], "https://api.groq.com")))
        unfit = llm("groq.com", secret["unfit"], secret["unfit"])
        home.write("unfit.yaml", manifest(llm=unfit))
        assert (await home.run("seal", "agents.d/unfit.yaml")).code == 1  # an address that is none
        await up.says("plaintext-secret|plaintext")
        home.edit("groq.yaml", "model: q", "model: r")
        await serve_elsewhere(home, client, canaries, secret, database_url)
        await asyncio.gather(*(home.run(*command.split()) for command in COMMANDS))
        await ask_everything(client, url, canaries)
    (home.agents / "bad.yaml").unlink()
    (home.agents / "unfit.yaml").unlink()
    assert canaries.look_in_tables(database_url) > 8
    assert (await up.stop()).code == 0


async def client_text(client: Client, url: str, slug: str) -> str:
    """A whole stream."""
    return (await client.stream(url, slug)).text


async def serve_elsewhere(
    home: Home, client: Client, canaries: Canaries, secret: dict[str, str], database_url: str
) -> None:
    """A second runtime, with a password in its URL and a token; a second daemon with a file of its own."""
    tokens = home.root / "tokens"
    tokens.write_text(secret["token"] + "\n")
    with_password = database_url.replace("postgres@", f"postgres:{secret['password']}@")
    assert with_password != database_url
    serve, url = await home.serve(with_password, "--token-file", str(tokens), "--log-level", "debug")
    await ask_everything(client, url, canaries, secret["token"])
    status, refused = await client.raw(
        "GET", f"{url}/v1/models", headers={"Authorization": f"Bearer x{secret['token']}"}
    )
    canaries.look("a wrong token", refused)
    assert status == 401
    watch = await home.start(
        *("watch", "--source", "second", "--log-level", "debug", "--log-format", "json"),
        AGENTSD_DATABASE_URL=with_password,
    )
    await watch.says("source-conflict|belongs to source")
    assert (await watch.stop()).code == 0
    assert (await serve.stop()).code == 0


async def test_the_search_finds(tmp_path: Path) -> None:
    """What looks for secrets finds them: plain, cut, in base64 at any place, in hex."""
    import base64

    secret = secrets.token_hex(24)
    for text in (
        f"x{secret}y",
        secret[:12],
        *(base64.b64encode(f"{'z' * shift}{secret}".encode()).decode() for shift in range(7)),
        secret.encode().hex(),
    ):
        canaries = Canaries({"a": secret, "b": secrets.token_hex(24)})
        (tmp_path / "file").write_text(text)
        canaries.look_in_files(tmp_path)
        assert [name for name, _ in canaries.found] == ["a"], text
    assert all(len(needle) >= 12 for needle in needles(secret))
