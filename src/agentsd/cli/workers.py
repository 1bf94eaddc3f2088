"""``agentsd serve --workers N``: one parent holds the listening sockets, N children serve on them.

    SIGTERM, SIGINT   every child drains and ends; a second one ends them at once, a third one kills
    SIGHUP            children are replaced one after another, each when its successor serves
    a child dies      a new one is started, later and later while that keeps happening

A new connection waits in the sockets' queue until some child takes it, so none is ever refused.
Each child has a line to its parent: it reports there that it serves, and ends when the line does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click

from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.backoff import Backoff
from agentsd.supervisor import Supervisor

READY_SECONDS = 60.0
"""A successor must serve within this time, or its predecessor stays."""
STEADY_SECONDS = 30.0
"""A child that served this long ended for a reason of its own, not because of how it was started."""
_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=10.0)

_PARENT_OPTIONS = {"workers", "listen_fd", "control_fd", "host", "port"}
_READY = b"r"


def list_options(command: click.Command, flags: Mapping[str, Any]) -> list[str]:
    """Return ``flags`` as they were given, without those of the parent alone."""
    given = []
    for option in command.params:
        value = flags.get(option.name or "")
        if option.name in _PARENT_OPTIONS or value is None or value is False:
            continue
        words = value if isinstance(value, tuple) else () if value is True else (value,)
        given += [option.opts[0], *map(str, words)]
    return given


class ParentLine:
    """Line of a child to its parent."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        os.set_inheritable(fd, False)

    def ready(self) -> None:
        """Report that this child serves."""
        with contextlib.suppress(OSError):
            self._socket.send(_READY)

    def on_end(self, orphaned: Callable[[], None]) -> None:
        """Call ``orphaned`` when the parent is gone."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            with contextlib.suppress(BlockingIOError):
                with contextlib.suppress(ConnectionError):
                    if self._socket.recv(64):
                        return
                loop.remove_reader(self._socket)
                orphaned()

        loop.add_reader(self._socket, heard)


class WorkerProcess:
    """Child process."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self.began = time.monotonic()
        self.ready = asyncio.create_task(self._hear())  # its result: whether it came to serve
        self.ended = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, command: Sequence[str], sockets: Sequence[socket.socket]) -> WorkerProcess:
        """Start a child that serves on ``sockets``.

        It has a session of its own: Ctrl-C goes to the parent only.
        """
        ours, theirs = socket.socketpair()
        fds = [one.fileno() for one in sockets]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentsd", "serve", *command),
                *(word for fd in fds for word in ("--listen-fd", str(fd))),
                *("--control-fd", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(*fds, theirs.fileno()),
                start_new_session=True,
            )
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def steady(self) -> bool:
        """Return whether it served, and for long."""
        return self.served and time.monotonic() - self.began > STEADY_SECONDS

    @property
    def served(self) -> bool:
        """Return whether it ever served."""
        return self.ready.done() and not self.ready.cancelled() and self.ready.result()

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def serves(self) -> bool:
        """Wait until it serves. Return False if it ended, or took too long."""
        done, _ = await asyncio.wait({self.ready}, timeout=READY_SECONDS)
        return bool(done) and self.served

    async def close(self) -> int:
        """Wait until it has ended; return its exit status."""
        code = await self.ended
        await self.ready
        self._line.close()
        return code

    async def _hear(self) -> bool:
        self._line.setblocking(False)
        try:
            return await asyncio.get_running_loop().sock_recv(self._line, 1) == _READY
        except ConnectionError:
            return False


class WorkerGroup:
    """Group of all children in the parent. ``run`` ends when every child has."""

    def __init__(self, command: Sequence[str], sockets: Sequence[socket.socket], count: int) -> None:
        self._command = command
        self._sockets = sockets
        self._count = count
        self._slots: list[WorkerProcess] = []
        self._alive: dict[WorkerProcess, asyncio.Task[int]] = {}
        self._served: set[int] = set()  # the slots in which a child ever came to serve
        self._signals = 0
        self._stopping = asyncio.Event()
        self._rolling = asyncio.Event()
        self._failed = 0  # the exit status of a child that never served, where none ever did

    async def run(self, welcome: Callable[[], None]) -> int:
        """Serve until a signal ends it; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._rolling.set)
        self._slots = [await self._start() for _ in range(self._count)]
        async with Supervisor().group() as tasks:
            for slot in range(self._count):
                tasks.start(f"worker_{slot}", partial(self._keep, slot))
            tasks.start("roll", self._roll_when_told)
            greeting = asyncio.create_task(self._greet(welcome))
            await self._stopping.wait()
            for one in self._sockets:
                one.close()
        greeting.cancel()
        await asyncio.gather(greeting, return_exceptions=True)
        while self._alive:
            await asyncio.wait(self._alive.values())
        return self._failed

    def _stop(self, number: signal.Signals) -> None:
        """Pass on the first signal, and the second, which ends the children; kill them at later ones."""
        self._signals += 1
        self._stopping.set()
        for one in self._alive:
            one.send(number if self._signals <= 2 else signal.SIGKILL)

    async def _start(self) -> WorkerProcess:
        worker = await WorkerProcess.start(self._command, self._sockets)
        closing = self._alive[worker] = asyncio.create_task(worker.close())
        closing.add_done_callback(lambda _: self._alive.pop(worker, None))
        return worker

    async def _greet(self, welcome: Callable[[], None]) -> None:
        if all(await asyncio.gather(*(one.serves() for one in self._slots))):
            welcome()

    async def _keep(self, slot: int) -> None:
        """Keep a child in this place, always."""
        failures = 0
        while True:
            worker = self._slots[slot]
            code = await asyncio.shield(worker.ended)
            if worker.served:
                self._served.add(slot)
            if worker is not self._slots[slot]:
                continue  # replaced
            if slot not in self._served:
                self._give_up(code)
                await asyncio.Event().wait()
            failures = 0 if worker.steady else failures
            delay = _BACKOFF.delay(failures)
            _print_note(
                f"worker {worker.pid} ended ({_describe_end(code)}); another one starts in {delay:.1f} s"
            )
            await asyncio.sleep(delay)
            failures += 1
            self._slots[slot] = await self._start()

    def _give_up(self, code: int) -> None:
        """Give up after a child that never served: it reported why, and would report it again."""
        self._failed = code if code > 0 else 1
        self._stop(signal.SIGTERM)

    async def _roll_when_told(self) -> None:
        while True:
            await self._rolling.wait()
            self._rolling.clear()
            if await self._roll():
                _print_note("every worker was replaced")

    async def _roll(self) -> bool:
        """Replace each child: first a successor that serves, then the end of the old one."""
        for slot in range(self._count):
            new = await self._start()
            if not await new.serves():
                new.send(signal.SIGKILL)
                _print_note("a new worker did not start serving: the old ones stay")
                return False
            old, self._slots[slot] = self._slots[slot], new
            old.send(signal.SIGTERM)
            await asyncio.shield(old.ended)
        return True


def _describe_end(code: int) -> str:
    return f"status {code}" if code >= 0 else f"signal {-code}"


def _print_note(text: str) -> None:
    print_lines(get_stderr(), [(("yellow", "  ! "), ("", text))])
