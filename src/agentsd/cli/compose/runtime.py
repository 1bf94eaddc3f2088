"""Components of the long-running processes: the watcher, and the runtime behind its HTTP interface."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsd.cli.compose.factories import make_catalog, make_checker, make_opener, make_sessions, make_sops
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import AgentsdError, ConfigError, StoreUnavailable
from agentsd.settings import Settings
from agentsd.store.database import Database

if TYPE_CHECKING:
    from agentsd.cli.compose.pull import PullSetup
    from agentsd.control.pull.puller import Puller
    from agentsd.control.sync.leadership import LeaderGate, Leadership
    from agentsd.control.sync.planner import Planner
    from agentsd.control.sync.syncer import Syncer
    from agentsd.control.sync.watcher import Watcher
    from agentsd.control.writeback.delivery import WriteMode
    from agentsd.control.writeback.writer import WriteBack
    from agentsd.runtime.snapshot_cache.keeper import SnapshotKeeper
    from agentsd.supervisor import SupervisedTasks, Supervisor
    from agentsd.telemetry import Metrics
    from agentsd.web.middleware.auth import AccessPolicy
    from agentsd.web.middleware.webhook_signature import GitWebhook
    from agentsd.web.server.server import Server
    from agentsd.web.server.tls import ServerCertificate

_RETRY_SECONDS = 1.0


def make_syncer(
    settings: Settings,
    flags: Mapping[str, Any],
    database: Database,
    gate: LeaderGate | None = None,
    pulling: PullSetup | None = None,
) -> Syncer:
    """Return a syncer from folder to store that reports and records results, if ``gate`` allows it."""
    from agentsd.cli.compose.run_reporter import RunReporter
    from agentsd.control.sync.reconciler import Reconciler, SyncOptions
    from agentsd.control.sync.syncer import Syncer

    options = SyncOptions(
        source=settings.source, allow_mass_delete=flags.get("allow_mass_delete", False), strict=False
    )
    checker = make_checker(settings, require_mac=flags.get("require_mac", True))
    prefix = f"{settings.path.as_posix().rstrip('/')}/"
    reporter = RunReporter(database, options, prefix, settings.keep_revisions)
    pulled = pulling.checkout if pulling else None
    reconciler = Reconciler(checker, database)
    return Syncer(settings.path, reconciler, options, reporter, env=settings.env, gate=gate, pulled=pulled)


def make_planner(
    settings: Settings, flags: Mapping[str, Any], database: Database, pulling: PullSetup | None = None
) -> Planner:
    """Return the API's planner: it reads the folder, or what was pulled, by the daemon's own rules."""
    from agentsd.control.sync.planner import Planner
    from agentsd.control.sync.reconciler import Reconciler, SyncOptions

    options = SyncOptions(source=settings.source, allow_mass_delete=flags.get("allow_mass_delete", False))
    checker = make_checker(settings, require_mac=flags.get("require_mac", True))
    pulled = pulling.checkout if pulling else None
    return Planner(
        settings.path, lambda: Reconciler(checker, database), options, env=settings.env, pulled=pulled
    )


async def make_writeback(settings: Settings, syncer: Syncer, otherwise: WriteMode) -> WriteBack | None:
    """Return the API's writer of files, after finishing the work of a killed process; None for no writing."""
    from agentsd.control.writeback.delivery import GitOptions
    from agentsd.control.writeback.manifest_editor import SealingEditor
    from agentsd.control.writeback.writer import WriteBack
    from agentsd.files.git.repository import check_repository

    mode = settings.write_back or otherwise
    if settings.env and settings.write_back not in (None, "off"):
        hint = "edit the files in git, or serve without --env"
        raise ConfigError("an API that writes cannot distinguish base and overlay", hint=hint)
    if mode == "off" or settings.env:
        return None
    if mode == "git":
        await check_repository(settings.path)
    desk = SealingEditor(settings.path, make_catalog(), make_opener(settings), make_sops(settings))
    options = GitOptions(settings.git_message, settings.git_branch, settings.git_push)
    writeback = WriteBack(desk, syncer, mode=mode, git=options)
    await writeback.recover()
    return writeback


async def start_watching(
    tasks: SupervisedTasks,
    syncer: Syncer,
    resync: float,
    database: Database,
    leadership: Leadership,
    pulling: PullSetup | None = None,
    *,
    wait: bool,
) -> Puller | None:
    """Start the sync daemon among ``tasks``; ``wait`` until its first round is over, or it is on standby."""
    from agentsd.control.sync.watcher import Watcher
    from agentsd.store.listener import Listener

    supervisor = tasks.supervisor
    puller = pulling.puller(syncer, database, leadership, supervisor) if pulling else None
    watcher = puller or Watcher(syncer, resync=resync)
    campaign = partial(_start_campaign, watcher, database, leadership, supervisor)
    tasks.start("campaign", campaign, ready=watcher.first_round)
    tasks.start("store", lambda: syncer.follow_store(Listener(database.listener_dsn).hints()))
    if puller is None:
        tasks.start("lead", syncer.keep_up)
    if pulling and pulling.statuses:
        tasks.start("statuses", pulling.statuses.run)
    if wait:
        await supervisor.wait(watcher.first_round)
    return puller


async def _start_campaign(
    watcher: Watcher | Puller, database: Database, leadership: Leadership, supervisor: Supervisor
) -> None:
    """Watch, as soon as Postgres is available: a machine may start its parts in any order."""
    while not await is_reachable(database):  # noqa: ASYNC110  (no event reports that a server is back)
        await asyncio.sleep(_RETRY_SECONDS)
    async with leadership.campaigning(supervisor), supervisor.group() as tasks:
        tasks.start("watch", watcher.run, ready=watcher.first_round)
        await asyncio.Event().wait()


async def is_reachable(database: Database) -> bool:
    """Return whether Postgres answers.

    Raises ``StoreError`` if it does, but is not fit for this program.
    """
    try:
        await database.check_schema()
    except StoreUnavailable:
        return False
    return True


@asynccontextmanager
async def serve_runtime(
    supervisor: Supervisor,
    metrics: Metrics,
    settings: Settings,
    database: Database,
    sockets: Sequence[socket.socket],
    writeback: WriteBack | None = None,
    hook: GitWebhook | None = None,
    cache: Path | None = None,
    planner: Planner | None = None,
    certificate: ServerCertificate | None = None,
) -> AsyncIterator[Server]:
    """Run the runtime and its HTTP interface; yield the server once the first load is served.

    ``cache``: the folder of the snapshot from which it starts while Postgres is away.
    """
    from agentsd.audio.sound_file import RecordingLimits
    from agentsd.cli.compose.env_agent import make_registry
    from agentsd.cli.compose.ledger import make_ledger, start_ledger
    from agentsd.cli.compose.policies import make_bounds, make_policies
    from agentsd.runtime.agents.builder import Builder
    from agentsd.runtime.agents.document_history import StoreDocumentHistory
    from agentsd.runtime.agents.tool_watch import ToolWatch
    from agentsd.runtime.follower.follower import Follower
    from agentsd.runtime.follower.knowledge import KnowledgeIndexer, StoreKnowledge
    from agentsd.runtime.follower.run_feed import RunFeed
    from agentsd.web.app import create_app
    from agentsd.web.context import AppContext
    from agentsd.web.middleware.auth import AccessPolicy, is_loopback, load_tokens
    from agentsd.web.server.server import start_server

    catalog, sessions = make_catalog(), make_sessions(settings)
    builder = Builder(
        make_opener(settings), catalog, sessions, trusted_origins=settings.trusted_origins, metrics=metrics
    )
    registry = make_registry(settings, builder, StoreDocumentHistory(database), metrics)
    hosts = [one.getsockname()[0] for one in sockets]
    guards, local = make_policies(settings, metrics), all(map(is_loopback, hosts))
    tokens, origins = load_tokens(settings.token_file), guards.cors.origins
    access = AccessPolicy(tokens, settings.allowed_hosts, loopback=local, origins=origins)
    await _refuse_lockout(access, hosts, database)
    keeper = _make_keeper(cache, settings, database, metrics) if cache else None
    follower = Follower(database, registry, metrics, tokens=access.book, keeper=keeper, supervisor=supervisor)
    knowledge = StoreKnowledge(database)
    indexer = KnowledgeIndexer(database, registry, knowledge)
    timeline = RunFeed(database)
    ledger = make_ledger(settings, database, registry, metrics)
    parts = AppContext(
        registry,
        follower,
        database,
        catalog,
        metrics,
        access,
        settings.path.as_posix(),
        max_body=settings.max_body,
        max_upload=settings.max_upload,
        keep_alive_seconds=settings.stream_keep_alive,
        max_calls=settings.max_calls,
        writeback=writeback,
        guards=guards,
        knowledge=knowledge,
        timeline=timeline,
        hook=hook,
        planner=planner,
        supervisor=supervisor,
        recordings=RecordingLimits(settings.max_recording),
        ledger=ledger,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sessions.aclose)
        stack.push_async_callback(registry.aclose)
        stack.push_async_callback(ledger.aclose)  # when every turn has ended
        tasks = await stack.enter_async_context(supervisor.group())
        start_ledger(tasks, ledger)
        tasks.start("follow", follower.run)
        tasks.start("index", indexer.run)
        tasks.start("timeline", timeline.run)
        tasks.start("tools", ToolWatch(registry).run)
        if planner is not None:
            stack.push_async_callback(planner.aclose)
        if writeback is not None:
            stack.push_async_callback(writeback.aclose)
        bounds, drain = make_bounds(settings), settings.shutdown_drain
        server = await start_server(
            create_app(parts),
            sockets,
            bounds=bounds,
            drain=drain,
            supervisor=supervisor,
            certificate=certificate,
        )
        stack.push_async_callback(server.stop)
        await _await_first_load(follower)
        yield server


def _make_keeper(cache: Path, settings: Settings, database: Database, metrics: Metrics) -> SnapshotKeeper:
    from agentsd.runtime.snapshot_cache.format import SnapshotOrigin
    from agentsd.runtime.snapshot_cache.keeper import SnapshotKeeper
    from agentsd.store.database import SCHEMA_REVISION

    return SnapshotKeeper(cache, SnapshotOrigin(database.place, settings.source, SCHEMA_REVISION), metrics)


async def _refuse_lockout(access: AccessPolicy, hosts: Sequence[str], database: Database) -> None:
    """Raise ``ConfigError`` if the server is reachable from other machines and there is no token.

    While Postgres is away that is unknown; the server then starts, and refuses all requests until
    it is known.
    """
    from agentsd.store.queries.users import load_tokens
    from agentsd.web.middleware.auth import check_bind

    if access.guarded and not access.book:
        try:
            async with database.transaction(snapshot=True) as connection:
                known = await load_tokens(connection)
        except StoreUnavailable:
            return
        check_bind(hosts, bool(known))


async def _await_first_load(follower: Any) -> None:
    """Wait until the runtime serves the content of the store; report it if that takes long."""
    try:
        async with asyncio.timeout(5):
            await follower.ready.wait()
        _freeze_objects()
        if follower.recalled:
            said = f"serving from disk, as of {follower.age():.0f} s ago: Postgres is away"
            print_lines(get_stderr(), [(("yellow", "  ! "), ("", said))])
    except TimeoutError:
        problem: AgentsdError | None = follower.problem
        reason = problem.message if problem else "no answer from Postgres yet"
        print_lines(get_stderr(), [(("yellow", "  ! "), ("", f"serving, but not ready: {reason}"))])


def _freeze_objects() -> None:
    """Freeze thousands of permanent documents: the collector need not traverse them at every pass."""
    gc.collect()
    gc.freeze()
