"""Replies of every route against the document: each is described, and no field of any is missing there."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from agentsd.control.sync.planner import Planner
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.run_log import record_result
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.delivery import GitOptions
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import Catalog
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.web.middleware.webhook_signature import GitWebhook
from agentsd.web.openapi.document import OPERATIONS, make_document
from agentsd.web.openapi.model import JSON_TYPE
from tests.files.git.repositories import git
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Keys, Make, Stack, echo
from tests.web.people import ADMIN, ALICE, GUS, settle

SECRET = "0123456789abcdef"
HELLO = [{"role": "user", "content": "Hello"}]
TOKEN = {"name": "ci", "role": "editor", "sha256": sha256(b"ci").hexdigest(), "expires": "2999-01-31"}
RECORDING = {"data": b"\0" * 3200, "headers": {"Content-Type": "audio/pcm;rate=16000"}}
MANIFEST = """\
name: {name}
system_prompt: You are terse.
description: Sells.
llm: {{provider: echo.local}}
tts: {{provider: openai-compatible, model: m, voice: v, api_url: "{url}"}}
stt: {{provider: openai-compatible, model: m, api_url: "{url}"}}
embedding: {{provider: openai-compatible, model: m, api_url: "{url}"}}
checks: [{{say: Hello, contains: hello}}]
"""
HANDY = """\
llm: {{provider: echo.local}}
tools: [{{name: look, http: {{method: GET, url: "{url}/look"}}}}]
"""

ROUTE = re.compile(r"\{\w+\}")
LASTING = {"followEvents", "call"}
"""Operations whose reply has no end and no schema."""


class Description:
    """The document, in which no object may have fields beyond those that it describes."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = deepcopy(document)
        for schema in self.document["components"]["schemas"].values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
        resource = Resource(contents=self.document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:document", resource)
        self.seen: set[tuple[str, str]] = set()

    def check(self, method: str, path: str, status: int, kind: str, body: Any) -> None:
        """Find the operation, its response and its schema; the body has to fit."""
        pointer, response = self._find(method, path, str(status))
        assert kind in response.get("content", {}), (method, path, status, kind)
        if kind in (JSON_TYPE, "application/problem+json"):
            schema = {"$ref": f"urn:document#{pointer}/content/{kind.replace('/', '~1')}/schema"}
            validator = Draft202012Validator(
                schema, registry=self._registry, format_checker=FormatChecker(["date-time", "uuid"])
            )
            assert [error.message for error in validator.iter_errors(body)] == [], (method, path, body)

    def _find(self, method: str, path: str, status: str) -> tuple[str, dict[str, Any]]:
        for template, operations in sorted(self.document["paths"].items()):
            pattern = ROUTE.sub("[^/]+", template) if "{model}" not in template else f"{template[:-7]}.+"
            if method.lower() in operations and re.fullmatch(pattern, path):
                operation = operations[method.lower()]
                assert status in operation["responses"], (method, path, status)
                self.seen.add((operation["operationId"], status))
                response = operation["responses"][status]
                if "$ref" in response:
                    pointer = response["$ref"].removeprefix("#")
                    return pointer, self.document["components"]["responses"][pointer.rpartition("/")[2]]
                key = template.replace("~", "~0").replace("/", "~1")
                return f"/paths/{key}/{method.lower()}/responses/{status}", response
        raise AssertionError((method, path))

    def missing(self) -> set[tuple[str, str]]:
        """The successful replies with JSON that were not seen."""
        return {
            (one.id, str(reply.status))
            for one in OPERATIONS
            for reply in one.replies
            if one.id not in LASTING and any(form.kind == JSON_TYPE for form in reply.forms)
        } - self.seen


@pytest.fixture(scope="module")
def described(catalog: Catalog) -> Description:
    """The document of this server."""
    return Description(make_document(catalog))


async def ask(stack: Stack, described: Description, method: str, path: str, **options: Any) -> Any:
    """A request by the admin, whose reply has to be as described; its body."""
    headers = {**ADMIN.headers, **options.pop("headers", {})}
    async with stack.client.request(method, stack.url + path, headers=headers, **options) as reply:
        raw = await reply.read()
        kind = reply.content_type
        body = await reply.json(content_type=None) if kind.endswith("json") else raw
    described.check(method, path.partition("?")[0], reply.status, kind, body)
    return body


@pytest.fixture
async def town(
    make: Make, vendor: OpenAIServer, database: Database, tmp_path: Path, keys: Keys, catalog: Catalog
) -> Stack:
    """A replica with owners, users, a folder, a webhook, and an agent with every provider."""
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, tmp_path), None)
    checker = Checker(catalog, opener)
    planner = Planner(tmp_path / "agents.d", lambda: Reconciler(checker, database), SyncOptions())

    async def pull() -> None:
        """Notify nobody."""

    stack = await make(write_back="files", planner=planner, hook=GitWebhook((SECRET.encode(),), pull))
    write_prompted(stack)
    stack.write("acme/whole.yaml", MANIFEST.format(name="Whole", url=vendor.url), sealed=True)
    stack.write("acme/handy.yaml", HANDY.format(url=vendor.url))
    await settle(stack)
    return stack


def write_prompted(stack: Stack) -> None:
    """An agent whose prompt is a file."""
    manifest = "name: Prompted\nsystem_prompt_file: brief.md\nllm: {provider: echo.local}\n"
    stack.write("prompted.yaml", manifest)
    stack.write("brief.md", "Be brief.\n")


READS = [
    *("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/api/session", "/api/providers"),
    *("/api/schema", "/api/agents", "/api/agents?limit=1", "/api/agents?view=summary", "/api/sync"),
    *("/api/agents/acme~whole", "/api/agents/current", "/api/agents/echo", "/api/users?limit=1"),
    *("/api/agents/acme~whole/values", "/api/agents/acme~whole/values?limit=2", "/api/agents/echo/values"),
    *("/api/agents/acme~whole/revisions?diff=true&limit=1", "/api/agents/acme~whole/revisions"),
    *("/api/agents/prompted/files", "/api/agents/prompted/files/brief.md"),
    *("/api/agents/acme~whole/activity?range=1h", "/api/usage?by=agent,day", "/api/usage?format=csv"),
    *("/api/audit?limit=1", "/v1/models", "/v1/models/acme/whole", "/api/sync/plan", "/api/users"),
    *("/api/agents/nobody", "/api/agents?limit=0", "/api/audit?onwer=x", "/v1/models/nobody"),
]

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/session", {}),
    ("POST", "/api/agents/acme~whole/select", {}),
    ("POST", "/api/agents/acme~whole/test?checks=true", {}),
    ("POST", "/api/markdown", {"json": {"text": "# A\n\n1. [b](https://c.example)\n\n|x|\n|-:|\n|y|"}}),
    ("POST", "/api/agents/acme~handy/tools/look", {"json": {"arguments": {}}}),
    ("POST", "/api/agents/acme~handy/tools/nobody", {"json": {"arguments": {}}}),
    ("POST", "/api/markdown", {"json": {"text": 1}}),
    ("POST", "/api/agents?dry_run=true", {"json": {"slug": "acme/new", "name": "New"}}),
    ("POST", "/api/agents", {"json": {"slug": "acme/new", "name": "New"}}),
    ("POST", "/api/agents", {"json": {"slug": "acme/new"}}),
    ("POST", "/api/agents", {"json": {"slug": "acme/other", "llm_provider_config": {"provider": "x"}}}),
    ("PUT", "/api/agents/acme~new", {"json": {"name": "Newer"}}),
    ("PATCH", "/api/agents/acme~new", {"json": {"description": "Changed."}}),
    ("PATCH", "/api/agents/acme~new?dry_run=true", {"json": {"description": "Again."}}),
    ("PATCH", "/api/agents/acme~new", {"json": {}, "headers": {"If-Match": '"0000"'}}),
    ("POST", "/api/agents/acme~new/set-default", {}),
    ("POST", "/api/agents/acme~new/rollback", {"json": {"version": "one"}}),
    ("POST", "/api/agents/acme~new/rollback", {"json": {"version": 10**6}}),
    ("PUT", "/api/agents/prompted/files/brief.md", {"json": {"text": "Be very brief."}}),
    ("DELETE", "/api/agents/acme~new", {}),
    ("POST", "/api/users/acme/tokens", {"json": TOKEN}),
    ("POST", "/api/users/acme/tokens", {"json": TOKEN}),
    ("POST", "/api/users/acme/tokens", {"json": {**TOKEN, "role": "king"}}),
    ("DELETE", "/api/users/acme/tokens/ci", {}),
    ("POST", "/v1/chat/completions", {"json": {"model": "acme/whole", "messages": HELLO}}),
    ("POST", "/v1/chat/completions", {"json": {"model": "acme/whole", "messages": [{}]}}),
    ("POST", "/v1/completions", {"json": {"model": "acme/whole", "prompt": "Hello", "best_of": 2}}),
    ("POST", "/v1/completions", {"json": {"model": "acme/whole", "prompt": ["Hello"]}}),
    ("POST", "/v1/responses", {"json": {"model": "acme/whole", "input": [1]}}),
    ("POST", "/v1/responses", {"json": {"model": "acme/whole", "input": "Hello"}}),
    ("POST", "/v1/embeddings", {"json": {"model": "acme/whole", "input": ["a", "b"]}}),
    ("POST", "/v1/embeddings", {"json": {"model": "acme/whole", "input": "a", "encoding_format": "base64"}}),
    ("POST", "/v1/embeddings", {"json": {"model": "acme/whole", "input": [1]}}),
    ("POST", "/v1/audio/speech", {"json": {"model": "acme/whole", "input": "Hello"}}),
    ("POST", "/v1/audio/transcriptions?model=acme/whole", RECORDING),
    ("POST", "/v1/audio/transcriptions?model=acme/whole&response_format=verbose_json", RECORDING),
    ("POST", "/v1/audio/translations?model=acme/whole", RECORDING),
    ("POST", "/hooks/git", {"data": b"{}", "headers": {"X-Gitlab-Token": SECRET}}),
    ("DELETE", "/api/session", {}),
]


async def test_replies_of_every_route_are_as_described(town: Stack, described: Description) -> None:
    """All operations but streams, in all their successful replies but those that follow below."""
    for path in READS:
        await ask(town, described, "GET", path)
    first = (await ask(town, described, "GET", "/api/agents/acme~whole"))["version"]
    for method, path, options in WRITES:
        await ask(town, described, method, path, **options)
    await ask(town, described, "PATCH", "/api/agents/acme~whole", json={"greeting": "Hello."})
    await ask(town, described, "POST", "/api/agents/acme~whole/rollback", json={"version": first})
    stored = {"model": "acme/whole", "input": "Hello", "store": True, "reasoning": {"effort": "low"}}
    response = f"/v1/responses/{(await ask(town, described, 'POST', '/v1/responses', json=stored))['id']}"
    for path in ("", "/input_items", "/input_items?limit=0"):
        await ask(town, described, "GET", response + path)
    for _ in range(2):
        await ask(town, described, "DELETE", response)
    revisions = await ask(town, described, "GET", "/api/agents/acme~whole/revisions?diff=true")
    assert revisions["items"][0]["changes"]
    branched = {
        (one.id, "202") for one in OPERATIONS if one.id != "pullNow" and one.role in ("editor", "admin")
    }
    assert described.missing() - branched == {("isReady", "503")}


async def test_what_others_see_is_as_described(town: Stack, described: Description) -> None:
    """Users who are not admins get less: null for it, where the document allows that."""
    town.write("acme/broken.yaml", "name: [\n")
    town.write("acme/whole.yaml", echo("Whole"))
    options = SyncOptions(strict=False)
    outcome = await town.reconciler.sync(read_tree(town.root), options)
    await record_result(town.database, outcome, options, trigger="test", started_at=datetime.now(UTC))
    for user in (ADMIN, ALICE, GUS):
        sync = await ask(town, described, "GET", "/api/sync", headers=user.headers)
        assert sync["replicas"]
        for path in ("/api/users", "/api/audit", "/api/agents", "/readyz", "/api/session"):
            await ask(town, described, "GET", path, headers=user.headers)
    await ask(town, described, "GET", "/api/sync/plan", headers=ALICE.headers)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository around the folder of manifests."""
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "t")
    git(tmp_path, "config", "user.email", "t@t.example")
    return tmp_path


async def test_an_edit_on_a_branch_is_as_described(
    make: Make, described: Description, repository: Path
) -> None:
    """202, of agents and of tokens."""
    stack = await make(write_back="git", git=GitOptions(branch="agentsd/{action}-{slug}"))
    write_prompted(stack)
    await settle(stack)
    git(repository, "add", "agents.d")
    git(repository, "commit", "-qm", "agents")
    one, vault = "/api/agents/acme~sales", "/api/agents/globex~vault"
    version = (await ask(stack, described, "GET", vault))["version"]
    stack.write("globex/vault.yaml", echo("Vault"))
    git(repository, "commit", "-qam", "vault")
    await stack.sync()
    for method, path, body in (
        ("POST", "/api/agents", {"slug": "acme/new", "name": "New"}),
        ("PUT", one, {"name": "Sales", "llm_provider_config": {"provider": "echo.local"}}),
        ("PATCH", "/api/agents/support", {"description": "Changed."}),
        ("POST", f"{vault}/rollback", {"version": version}),
        ("POST", "/api/agents/acme~orders/set-default", None),
        ("DELETE", one, None),
        ("PUT", "/api/agents/prompted/files/brief.md", {"text": "Be very brief."}),
        ("POST", "/api/users/acme/tokens", TOKEN),
        ("DELETE", "/api/users/acme/tokens/viewer", None),
    ):
        await ask(stack, described, method, path, **({} if body is None else {"json": body}))
    missing = {name for name, status in described.missing() if status == "202"}
    assert missing <= {"pullNow"}
