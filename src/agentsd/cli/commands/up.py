"""``agentsd up``, ``serve`` and ``watch``: the long-running processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentsd import __version__
from agentsd.cli import logs
from agentsd.cli.commands.author import ENV_OPTION
from agentsd.cli.commands.first_import import import_first_env
from agentsd.cli.compose.factories import choose_cache_folder, load_settings, open_database, run
from agentsd.cli.compose.notifications import start_notifying
from agentsd.cli.compose.pull import PULL_OPTIONS, PULL_SETTINGS, make_hook, make_pull_setup
from agentsd.cli.compose.runtime import (
    is_reachable,
    make_planner,
    make_syncer,
    make_writeback,
    serve_runtime,
    start_watching,
)
from agentsd.cli.compose.tls import CERTIFICATE_FILE, choose_tls_folder, load_certificate
from agentsd.cli.output import Screen, get_stderr, print_lines
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.cli.workers import ParentLine

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOGGING = (
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", help="Format of log lines."
    ),
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
)
_SERVING = (
    click.option("--host", default="127.0.0.1", help="Address to listen on [127.0.0.1]."),
    click.option(
        "--port", default=8080, type=click.IntRange(0, 65535), help="Port; 0 picks a free one [8080]."
    ),
    click.option(
        "--tls",
        nargs=2,
        metavar="CERT KEY",
        type=click.Path(path_type=Path),
        help="HTTPS with this certificate and key, read again when they are renewed.",
    ),
    click.option(
        "--tls-self-signed",
        is_flag=True,
        default=None,
        help="HTTPS with a certificate that is made here and kept.",
    ),
    click.option("--token-file", type=click.Path(path_type=Path), help="Bearer tokens, one per line."),
    click.option(
        "--write-back",
        type=click.Choice(["off", "files", "git"]),
        help="What the API may write [up: files, serve: off].",
    ),
    click.option("--no-cache", is_flag=True, help="Keep no snapshot on disk for starts without Postgres."),
)
_TREE = (
    click.option("--path", type=click.Path(path_type=Path), help="Folder of manifests [agents.d]."),
    click.option("--source", help="Name of this tree [main]."),
    ENV_OPTION,
)
_WATCHING = (
    *_TREE,
    *PULL_OPTIONS,
    click.option(
        "--require-mac/--no-require-mac",
        default=True,
        help="Quarantine seals that no available key can verify [on].",
    ),
    click.option("--allow-mass-delete", is_flag=True, help="Remove many agents at once."),
    click.option("--resync", default=60.0, help="Seconds between full resyncs [60]."),
)


def _add_options(*options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed([one for group in options for one in group]):
            command = option(command)
        return command

    return decorate


@click.command("up")
@_add_options(_WATCHING, _SERVING, _LOGGING)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where embedded Postgres keeps its data.")
def up_command(**flags: Any) -> None:
    """Run everything in one process: Postgres, migrations, sync, API on 127.0.0.1:8080.

    Without AGENTSD_DATABASE_URL, Postgres is embedded, with its data in your data folder.

    \b
    Examples:
      agentsd up
      agentsd up --path ./agents.d --port 9000
      SOPS_AGE_KEY_FILE=~/keys.txt agentsd up
    """
    run(_run_processes(flags, watching=True, serving=True))


@click.command("serve")
@_add_options(_SERVING, _TREE, _LOGGING)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that share the port; SIGHUP replaces them in turn.",
)
@click.option("--listen-fd", type=int, multiple=True, hidden=True)
@click.option("--control-fd", type=int, hidden=True)
def serve_command(**flags: Any) -> None:
    """Run the runtime alone: it serves the content of the database, and follows it. Any number may run.

    \b
    Examples:
      AGENTSD_DATABASE_URL=postgresql://agentsd@db/agentsd agentsd serve
      AGENTSD_TOKEN_FILE=/run/secrets/tokens agentsd serve --host 0.0.0.0
      agentsd serve --workers 4
    """
    if flags["workers"]:
        code = run(_lead_workers(flags, flags["workers"]))
        raise click.exceptions.Exit(code)
    run(_run_processes(flags, watching=False, serving=True))


@click.command("watch")
@_add_options(_WATCHING, _LOGGING)
def watch_command(**flags: Any) -> None:
    """Run the sync daemon alone: it reconciles the folder into the database on every change.

    \b
    Examples:
      AGENTSD_DATABASE_URL=postgresql://agentsd@db/agentsd agentsd watch --path agents.d
      agentsd watch --git https://git.example.org/org/agents.git --ref main --interval 30s
    """
    run(_run_processes(flags, watching=True, serving=False))


async def _run_processes(flags: dict[str, Any], *, watching: bool, serving: bool) -> None:
    from agentsd.control.sync.leadership import Leadership
    from agentsd.supervisor import Supervisor, log_stray
    from agentsd.telemetry import Metrics

    began = time.perf_counter()
    logs.set_up_logging(flags["log_format"], flags["log_level"])
    settings = _load_settings(flags)
    asyncio.get_running_loop().set_exception_handler(log_stray)
    running = asyncio.Event()
    stop = _watch_signals(running)
    line = _open_parent_line(flags, stop)
    console = Screen(StringIO()) if line else get_stderr()  # a worker's parent has printed it
    print_lines(console, [(("bold", f"agentsd {__version__}"),)])
    pulling = make_pull_setup(settings, flags) if watching else None
    metrics = Metrics()
    supervisor = Supervisor(metrics)
    async with AsyncExitStack() as stack:
        certificate = load_certificate(settings, flags["host"]) if serving else None
        sockets = _bind_sockets(flags, settings) if serving else []
        for one in sockets:
            stack.callback(one.close)
        everything = watching and serving
        database = await stack.enter_async_context(
            open_database(
                settings, migrate=everything, exclusive=everything, check=False, supervisor=supervisor
            )
        )
        if await is_reachable(database):
            print_lines(console, [(("green", "  ✓ "), ("", f"Postgres   {database.place}"))])
        else:
            print_lines(console, [(("yellow", "  ! "), ("", f"waiting for Postgres at {database.place}"))])
        imported = await import_first_env(settings, database) if everything and not pulling else None
        group = await stack.enter_async_context(supervisor.group())
        leadership = Leadership(database, settings.source) if watching else None
        syncer = make_syncer(settings, flags, database, leadership, pulling)
        stack.push_async_callback(syncer.aclose)
        writeback = (
            await make_writeback(settings, syncer, "files" if watching and not pulling else "off")
            if serving
            else None
        )
        puller = None
        if leadership:
            start_notifying(group, settings, database, leadership)
            puller = await start_watching(
                group, syncer, flags["resync"], database, leadership, pulling, wait=serving
            )
        if serving:
            hook = make_hook(settings, database, puller, leadership)
            cache = choose_cache_folder(settings, alone=not watching, off=flags["no_cache"])
            planner = make_planner(settings, flags, database, pulling)
            server = await stack.enter_async_context(
                serve_runtime(
                    supervisor,
                    metrics,
                    settings,
                    database,
                    sockets,
                    writeback,
                    hook,
                    cache,
                    planner,
                    certificate,
                )
            )
            if line:
                line.ready()
            else:
                started = Started(server.url, time.perf_counter() - began, settings)
                _print_welcome(started, watching, imported or "assistant")
        running.set()
        await supervisor.wait(stop)
        print_lines(console, [(("dim", "stopping: open streams may finish"),)])
        if serving and not watching and stop.number is signal.SIGTERM:
            await server.leave(settings.shutdown_grace)


class _StopEvent(asyncio.Event):
    """Event that is set when the process is to end."""

    number: signal.Signals | None = None  # the signal that set it


def _watch_signals(running: asyncio.Event) -> _StopEvent:
    """Set an event at the first SIGINT or SIGTERM; before ``running``, that ends the start-up.

    A second one kills.
    """
    stop = _StopEvent()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def handle(given: signal.Signals) -> None:
        for number in _SIGNALS:
            loop.add_signal_handler(number, _raise_interrupt)
        stop.number = given
        stop.set()
        if task and not running.is_set():
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    return stop


def _open_parent_line(flags: Mapping[str, Any], stop: asyncio.Event) -> ParentLine | None:
    """Return the line of a worker to its parent; the worker ends when the parent does."""
    if flags.get("control_fd") is None:
        return None
    from agentsd.cli.workers import ParentLine

    line = ParentLine(flags["control_fd"])
    line.on_end(stop.set)
    return line


async def _lead_workers(flags: dict[str, Any], count: int) -> int:
    """Run the parent of so many workers; return its exit status."""
    from agentsd.cli.workers import WorkerGroup, list_options
    from agentsd.web.server.server import list_urls

    began = time.perf_counter()
    logs.set_up_logging(flags["log_format"], flags["log_level"])
    settings = _load_settings(flags)
    certificate = load_certificate(settings, flags["host"])
    sockets = _bind_sockets(flags, settings)
    print_lines(get_stderr(), [(("bold", f"agentsd {__version__}"), ("dim", f"  {count} workers"))])
    url = list_urls(sockets, secure=certificate is not None)[0]

    def welcome() -> None:
        _print_welcome(Started(url, time.perf_counter() - began, settings), False, "assistant")

    return await WorkerGroup(list_options(serve_command, flags), sockets, count).run(welcome)


def _raise_interrupt() -> None:
    """Leave the event loop. Raised inside the task that is stopping, it would wait for the streams."""
    raise KeyboardInterrupt


def _bind_sockets(flags: dict[str, Any], settings: Settings) -> list[socket.socket]:
    """Bind first, so that a busy port or an unusable token file is reported before anything starts.

    A worker's parent has bound the sockets.
    """
    from agentsd.web.middleware.auth import load_tokens
    from agentsd.web.server.server import bind_sockets

    if flags.get("listen_fd"):
        return [socket.socket(fileno=fd) for fd in flags["listen_fd"]]

    load_tokens(settings.token_file)
    return bind_sockets(flags["host"], flags["port"])


@dataclass(frozen=True, slots=True)
class Started:
    """Server that answers."""

    url: str
    seconds: float  # that the start took
    settings: Settings

    @property
    def trust(self) -> str:
        """Return the option of curl for a certificate that nobody signed."""
        if not self.settings.tls_self_signed:
            return ""
        return f"--cacert {choose_tls_folder(self.settings) / CERTIFICATE_FILE} "


def _load_settings(flags: Mapping[str, Any]) -> Settings:
    names = ("path", "source", "env", "token_file", "data_dir", "write_back", "tls_self_signed")
    cert, key = flags.get("tls") or (None, None)
    given = {name: flags.get(name) for name in (*names, *PULL_SETTINGS)}
    return load_settings(**given, tls_cert=cert, tls_key=key)


def _print_welcome(started: Started, watching: bool, model: str) -> None:
    body = f'{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'
    chat = f"{started.url}/v1/chat/completions"
    lines: list[tuple[tuple[str, str], ...]] = [
        (
            ("green", "  ✓ "),
            ("", "listening  "),
            ("bold cyan", started.url),
            ("dim", f"  (after {started.seconds:.1f} s)"),
        ),
        (),
        (("dim", "  Open it in a browser, or talk to an agent:"),),
        (("", f"    curl -N {started.trust}{chat} -H 'content-type: application/json' -d '{body}'"),),
    ]
    if watching:
        lines.append((("dim", "  Change a manifest, and the next answer uses it. Stop with Ctrl-C."),))
    print_lines(get_stderr(), lines)
