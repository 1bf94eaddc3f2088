"""``agentsd up``, ``serve`` and ``watch``: the long-running processes."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentsd import __version__
from agentsd.cli import logs
from agentsd.cli.compose import load_settings, make_catalog, make_checker, make_opener, open_database, run
from agentsd.cli.output import print_lines, stderr
from agentsd.core.errors import AgentsdError, StoreUnavailable
from agentsd.settings import Settings
from agentsd.store.database import Database

if TYPE_CHECKING:
    from agentsd.control.watch import Watcher

_RETRY_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOGGING = (
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", help="Form of log lines."
    ),
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
)
_SERVING = (
    click.option("--host", default="127.0.0.1", help="Address to listen on [127.0.0.1]."),
    click.option(
        "--port", default=8080, type=click.IntRange(0, 65535), help="Port; 0 picks a free one [8080]."
    ),
    click.option("--token-file", type=click.Path(path_type=Path), help="Bearer tokens, one a line."),
)
_WATCHING = (
    click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d]."),
    click.option("--source", help="Name of this tree [main]."),
    click.option(
        "--require-mac/--no-require-mac",
        default=True,
        help="Quarantine seals that no key at hand can verify [on].",
    ),
    click.option("--allow-mass-delete", is_flag=True, help="Remove many agents at once."),
    click.option("--resync", default=60.0, help="Seconds between full resyncs [60]."),
)


def _with(*options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed([one for group in options for one in group]):
            command = option(command)
        return command

    return decorate


@click.command("up")
@_with(_WATCHING, _SERVING, _LOGGING)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where embedded Postgres keeps its data.")
def up_command(**flags: Any) -> None:
    """Everything in one process: Postgres, migrate, sync on every change, API on 127.0.0.1:8080.

    Without AGENTSD_DATABASE_URL, Postgres comes embedded, with its data in your data folder.

    \b
    Examples:
      agentsd up
      agentsd up --path ./agents.d --port 9000
      SOPS_AGE_KEY_FILE=~/keys.txt agentsd up
    """
    run(_main(flags, watching=True, serving=True))


@click.command("serve")
@_with(_SERVING, _LOGGING)
def serve_command(**flags: Any) -> None:
    """The runtime alone: serves what is in the database, and follows it. Run as many as you like.

    \b
    Examples:
      AGENTSD_DATABASE_URL=postgresql://agentsd@db/agentsd agentsd serve
      AGENTSD_TOKEN_FILE=/run/secrets/tokens agentsd serve --host 0.0.0.0
    """
    run(_main(flags, watching=False, serving=True))


@click.command("watch")
@_with(_WATCHING, _LOGGING)
def watch_command(**flags: Any) -> None:
    """The sync daemon alone: reconciles the folder into the database on every change.

    \b
    Examples:
      AGENTSD_DATABASE_URL=postgresql://agentsd@db/agentsd agentsd watch --path agents.d
    """
    run(_main(flags, watching=True, serving=False))


async def _main(flags: dict[str, Any], *, watching: bool, serving: bool) -> None:
    began = time.perf_counter()
    logs.setup(flags["log_format"], flags["log_level"])
    names = ("path", "source", "token_file", "data_dir")
    settings = load_settings(**{name: flags.get(name) for name in names})
    running = asyncio.Event()
    stop = _stop_on_signals(running)
    console = stderr()
    print_lines(console, [(("bold", f"agentsd {__version__}"),)])
    async with AsyncExitStack() as stack:
        sockets = _listen(flags, settings) if serving else []
        for one in sockets:
            stack.callback(one.close)
        everything = watching and serving
        database = await stack.enter_async_context(
            open_database(settings, migrate=everything, exclusive=everything, check=False)
        )
        if await _reachable(database):
            print_lines(console, [(("green", "  ✓ "), ("", f"Postgres   {database.place}"))])
        else:
            print_lines(console, [(("yellow", "  ! "), ("", f"waiting for Postgres at {database.place}"))])
        group = await stack.enter_async_context(_tasks())
        if watching:
            await _start_watching(group, settings, flags, database, wait=serving)
        if serving:
            url = await stack.enter_async_context(_serving(group, settings, database, sockets))
            _welcome(url, time.perf_counter() - began, watching)
        running.set()
        await _until_stopped(stop, group)
        print_lines(console, [(("dim", "stopping: open streams may finish"),)])


def _stop_on_signals(running: asyncio.Event) -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; before ``running``, that ends the start-up. A second one kills."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def handle() -> None:
        for number in _SIGNALS:
            loop.add_signal_handler(number, _interrupt)
        stop.set()
        if task and not running.is_set():
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle)
    return stop


def _interrupt() -> None:
    """Out of the event loop. Raised inside the task that is stopping, it would wait for the streams."""
    raise KeyboardInterrupt


async def _until_stopped(stop: asyncio.Event, tasks: set[asyncio.Task[None]]) -> None:
    """Wait for a signal. A background task ends by a fault only, and takes the process with it."""
    signalled = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({signalled, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
    for task in done - {signalled}:
        task.result()


def _listen(flags: dict[str, Any], settings: Settings) -> list[socket.socket]:
    """Bind first, so that a busy port or a forbidden address is told before anything starts."""
    from agentsd.web.access import check_bind, load_tokens
    from agentsd.web.server import bind

    check_bind(flags["host"], load_tokens(settings.token_file))
    return bind(flags["host"], flags["port"])


@asynccontextmanager
async def _tasks() -> AsyncIterator[set[asyncio.Task[None]]]:
    """Background tasks that end with the block, in reverse order."""
    tasks: set[asyncio.Task[None]] = set()
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _start_watching(
    tasks: set[asyncio.Task[None]],
    settings: Settings,
    flags: dict[str, Any],
    database: Database,
    *,
    wait: bool,
) -> None:
    from agentsd.cli.reporting import Reporter
    from agentsd.control.reconcile import Options, Reconciler
    from agentsd.control.watch import Watcher

    options = Options(source=settings.source, allow_mass_delete=flags["allow_mass_delete"], strict=False)
    checker = make_checker(settings, require_mac=flags["require_mac"])
    reporter = Reporter(database, options, f"{settings.path.as_posix().rstrip('/')}/")
    watcher = Watcher(
        settings.path, Reconciler(checker, database), options, resync=flags["resync"], on_report=reporter
    )
    tasks.add(asyncio.create_task(_watch(watcher, database), name="watch"))
    if wait:
        await watcher.first_round.wait()


async def _watch(watcher: Watcher, database: Database) -> None:
    """Watch, as soon as Postgres is there: a machine may start its parts in any order."""
    while not await _reachable(database):  # noqa: ASYNC110  (a server that is away tells nobody)
        await asyncio.sleep(_RETRY_SECONDS)
    await watcher.run()


async def _reachable(database: Database) -> bool:
    """Whether Postgres answers. Raises ``StoreError`` where it does, but is not fit for this program."""
    try:
        await database.check_schema()
    except StoreUnavailable:
        return False
    return True


@asynccontextmanager
async def _serving(
    tasks: set[asyncio.Task[None]], settings: Settings, database: Database, sockets: Sequence[socket.socket]
) -> AsyncIterator[str]:
    """The runtime and its HTTP interface; yields the URL once the first load is served."""
    from agentsd.providers.http import HttpSessions
    from agentsd.runtime.building import Builder
    from agentsd.runtime.history import StoreHistory
    from agentsd.runtime.knowledge import Indexer, StoreKnowledge
    from agentsd.runtime.listener import Follower
    from agentsd.runtime.registry import Registry
    from agentsd.telemetry import Metrics
    from agentsd.web.access import Access, load_tokens
    from agentsd.web.app import create_app
    from agentsd.web.parts import Parts
    from agentsd.web.server import start

    catalog, sessions, metrics = make_catalog(), HttpSessions(), Metrics()
    builder = Builder(
        make_opener(settings), catalog, sessions, trusted_origins=settings.trusted_origins, metrics=metrics
    )
    registry = Registry(builder, StoreHistory(database), metrics)
    follower = Follower(database, registry, metrics)
    access = Access(load_tokens(settings.token_file), settings.allowed_hosts)
    knowledge = StoreKnowledge(database)
    indexer = Indexer(database, registry, knowledge)
    parts = Parts(
        registry,
        follower,
        database,
        catalog,
        metrics,
        access,
        settings.path.as_posix(),
        knowledge=knowledge,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sessions.aclose)
        stack.push_async_callback(registry.aclose)
        tasks.add(asyncio.create_task(follower.run(), name="follow"))
        tasks.add(asyncio.create_task(indexer.run(), name="index"))
        server = await start(create_app(parts), sockets)
        stack.push_async_callback(server.stop)
        await _first_load(follower)
        yield server.url


async def _first_load(follower: Any) -> None:
    """Wait until the runtime serves what the store holds; say so when that takes long."""
    try:
        async with asyncio.timeout(5):
            await follower.ready.wait()
        _settle_memory()
    except TimeoutError:
        problem: AgentsdError | None = follower.problem
        reason = problem.message if problem else "no answer from Postgres yet"
        print_lines(stderr(), [(("yellow", "  ! "), ("", f"serving, but not ready: {reason}"))])


def _settle_memory() -> None:
    """Thousands of documents that stay for good: the collector need not walk them at every pass."""
    gc.collect()
    gc.freeze()


def _welcome(url: str, seconds: float, watching: bool) -> None:
    body = '{"model":"assistant","stream":true,"messages":[{"role":"user","content":"hello"}]}'
    lines: list[tuple[tuple[str, str], ...]] = [
        (
            ("green", "  ✓ "),
            ("", "listening  "),
            ("bold cyan", url),
            ("dim", f"  (after {seconds:.1f} s)"),
        ),
        (),
        (("dim", "  Talk to an agent:"),),
        (("", f"    curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"),),
    ]
    if watching:
        lines.append((("dim", "  Change a manifest, and the next answer comes from it. Stop with Ctrl-C."),))
    print_lines(stderr(), lines)
