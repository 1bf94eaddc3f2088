"""``Sandbox``: workers that are started when needed, kept warm, and killed at their limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

import orjson

from agentsd.core import errors
from agentsd.core.errors import AgentsdError, FunctionFailed, LimitExceeded, WorkerFailed
from agentsd.sandbox import wire
from agentsd.sandbox.limits import CallLimits

WORKERS = 2
"""Worker processes at a time."""
MEMORY_MAX = 1 << 30
"""Default limit of one worker's memory, in bytes; ``Sandbox.memory_max`` is the operator's."""
QUEUE_MAX = 64
"""Calls that wait for a worker; a further one is refused."""
QUEUE_SECONDS = 60.0
"""Timeout of the wait for a worker."""
CALLS_MAX = 500
"""Calls of one worker before it is replaced, so that a library's leaks do not add up."""

_GRACE_SECONDS = 0.25  # between a worker's end of file and its exit status
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from agentsd.sandbox.worker import main; main()"
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "SYSTEMROOT")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_PIECE_BYTES = 1 << 20

Result = TypeVar("Result")


class Sandbox:
    """Runner of top-level functions in worker processes with limits. Thread-safe.

    A worker is another program, not a fork: it shares neither memory, nor environment, nor descriptors
    with this process. It ends when this process does, however that ends.
    """

    def __init__(
        self,
        limits: CallLimits = CallLimits(),  # noqa: B008  (frozen)
        *,
        workers: int = WORKERS,
        queue: int = QUEUE_MAX,
    ) -> None:
        self.limits = limits
        self.memory_max = MEMORY_MAX
        self._size = workers
        self._queue = queue
        self._turns = threading.Condition()
        self._waiting = 0
        self._running: list[str] = []  # the key of each call under way
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)

    def call(
        self,
        function: Callable[..., Result],
        *arguments: object,
        limits: CallLimits | None = None,
        key: str = "",
    ) -> Result:
        """Return the result of ``function(*arguments)``: bytes, or JSON values (a tuple: a list).

        ``key`` identifies the owner of the work; one key has one worker at a time. Raises ``LimitExceeded``,
        ``WorkerFailed``, ``FunctionFailed`` for an error that is not one of agentsd, else that error.
        Blocks: on an event loop, await ``run``.
        """
        result: Result = self._call(_Ticket(key), limits or self.limits, function, arguments)
        return result

    def _call(
        self, ticket: _Ticket, limits: CallLimits, function: Callable[..., Any], arguments: tuple[object, ...]
    ) -> Any:
        limits = replace(limits, memory=min(limits.memory, self.memory_max))
        payload = pickle.dumps((function.__module__, function.__qualname__, arguments, limits))
        if len(payload) > limits.input_bytes:
            raise _make_limit_error("input", limits)
        with self._turn(ticket, limits):
            worker = self._take()
            try:
                self._assign(ticket, worker)
                return worker.call(payload, limits)
            finally:
                with self._turns:
                    ticket.worker = None
                self._keep(worker)

    def _assign(self, ticket: _Ticket, worker: _Worker) -> None:
        """Record the worker of a call, so that the call can be abandoned."""
        with self._turns:
            ticket.worker = worker
            if ticket.abandoned:
                raise _abandoned()

    def _abandon(self, ticket: _Ticket) -> None:
        """End a call whose caller has stopped waiting, and free its place at once."""
        with self._turns:
            ticket.abandoned = True
            if ticket.worker is not None:
                ticket.worker.interrupt()
            self._turns.notify_all()

    async def run(
        self,
        function: Callable[..., Result],
        *arguments: object,
        limits: CallLimits | None = None,
        key: str = "",
    ) -> Result:
        """Run ``call`` beside the event loop, in a thread that does not keep the process from ending."""
        ticket = _Ticket(key)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def work() -> None:
            try:
                result = self._call(ticket, limits or self.limits, function, arguments)
                told = partial(_set_result, future, result)
            except BaseException as error:
                told = partial(_set_exception, future, error)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(told)

        threading.Thread(target=work, name="sandbox", daemon=True).start()
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(ticket)
            raise

    def close(self) -> None:
        """Kill all workers; calls under way fail."""
        self._finalizer()

    @contextlib.contextmanager
    def _turn(self, ticket: _Ticket, limits: CallLimits) -> Iterator[None]:
        """Take a place among the calls under way."""
        key = ticket.key
        with self._turns:
            if self._waiting >= self._queue:
                raise _make_limit_error("queue", limits)
            self._waiting += 1
            free = self._turns.wait_for(lambda: ticket.abandoned or self._is_free(key), QUEUE_SECONDS)
            self._waiting -= 1
            if ticket.abandoned:
                raise _abandoned()
            if not free:
                raise _make_limit_error("queue", limits)
            self._running.append(key)
        try:
            yield
        finally:
            with self._turns:
                self._running.remove(key)
                self._turns.notify_all()

    def _is_free(self, key: str) -> bool:
        return len(self._running) < self._size and (not key or key not in self._running)

    def _take(self) -> _Worker:
        while True:
            with self._turns:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = _Worker()
                with self._turns:
                    self._workers.add(worker)
                return worker
            if worker.is_ready():
                return worker
            self._drop(worker)

    def _keep(self, worker: _Worker) -> None:
        if worker.interrupted or not worker.sound or worker.calls >= CALLS_MAX or not self._finalizer.alive:
            self._drop(worker)
            return
        with self._turns:
            self._idle.append(worker)

    def _drop(self, worker: _Worker) -> None:
        worker.kill()
        with self._turns:
            self._workers.discard(worker)


class _Ticket:
    """One call: its owner, its worker, and whether its caller still waits."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.worker: _Worker | None = None  # while it works on the call
        self.abandoned = False


class _Worker:
    """Worker process, used by one thread at a time."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", _BOOT, *map(os.path.abspath, sys.path)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_make_environment(),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent
            )
        self.calls = 0
        self.interrupted = False
        self.sound = True  # between calls: it answered the last one as it should

    def is_ready(self) -> bool:
        """Return whether it waits for a call: it neither ended nor wrote anything unrequested."""
        return self._process.poll() is None and not self._has_input()

    def _has_input(self) -> bool:
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self) -> None:
        """End it at once, and wait for its exit status, so that nothing of it remains."""
        self.sound = False
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> None:
        """End it from another thread: the call under way fails."""
        self.interrupted = True
        self._process.kill()

    def call(self, payload: bytes, limits: CallLimits) -> Any:
        self.calls += 1
        self.sound = False
        deadline = time.monotonic() + limits.wall_seconds
        try:
            self._socket.settimeout(limits.wall_seconds)
            self._socket.sendall(wire.HEADER.pack(wire.CALL, len(payload)))
            self._socket.sendall(payload)
            kind, size = wire.HEADER.unpack(self._receive(wire.HEADER.size, deadline))
            reply = self._receive(_check_size(kind, size, limits), deadline)
        except TimeoutError:
            raise _make_limit_error("time", limits) from None
        except OSError:
            raise self._ended(limits) from None
        return self._result(kind, reply, limits)

    def _receive(self, size: int, deadline: float) -> bytes:
        data = BytesIO()  # its value is no copy: one of 100 MB would hold the interpreter lock for 0.1 s
        while (received := data.tell()) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            piece = self._socket.recv(min(size - received, _PIECE_BYTES))
            if not piece:
                raise ConnectionResetError
            data.write(piece)
        return data.getvalue()

    def _ended(self, limits: CallLimits) -> AgentsdError:
        """Return the error for a worker that ended during a call, by its exit status."""
        try:
            status = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return WorkerFailed("a worker process closed its pipe")
        if status == -signal.SIGXCPU:
            return _make_limit_error("cpu", limits)
        return WorkerFailed(f"a worker process ended during a call (status {status})")

    def _result(self, kind: bytes, reply: bytes, limits: CallLimits) -> Any:
        """Return the result of a whole reply.

        The worker is reusable unless it lacks memory or answered garbage.
        """
        if kind == wire.EXHAUSTED:
            raise _make_limit_error("memory", limits)
        if kind == wire.TOO_LARGE:
            raise _make_limit_error("output", limits)
        try:
            result = reply if kind == wire.BYTES else None if kind == wire.FOREIGN else orjson.loads(reply)
            error = _parse_error(kind, reply, result)
        except (ValueError, TypeError, KeyError):
            raise _make_garbage_error() from None
        self.sound = True
        if error:
            raise error
        return result


def _check_size(kind: bytes, size: int, limits: CallLimits) -> int:
    """Return the declared size of a reply. Nothing is read of one that is larger than allowed."""
    if kind not in wire.KINDS:
        raise _make_garbage_error()
    if size > (limits.output_bytes if kind in wire.RESULTS else wire.ERROR_BYTES):
        raise _make_limit_error("output", limits)
    return size


def _parse_error(kind: bytes, reply: bytes, told: Any) -> AgentsdError | None:
    """Return the error that a reply describes; None for a result.

    Raises for a reply of another form.
    """
    if kind in wire.RESULTS:
        return None
    name = reply.decode("ascii") if kind == wire.FOREIGN else str(told["type"])
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    if kind == wire.FOREIGN:
        return FunctionFailed(name)
    found = getattr(errors, name, None)
    plain = isinstance(found, type) and issubclass(found, AgentsdError) and _is_plain(found)
    kind_of_error: type[AgentsdError] = found if plain and found else AgentsdError
    return kind_of_error(str(told["message"]), hint=str(told["hint"]))


def _is_plain(found: type[AgentsdError]) -> bool:
    """Return whether the error consists of a message and a hint alone."""
    return found.__init__ is AgentsdError.__init__


def _make_limit_error(limit: errors.Limit, limits: CallLimits) -> LimitExceeded:
    allowed = {
        "cpu": f"{limits.cpu_seconds:g} s of CPU time",
        "memory": f"{limits.memory >> 20:,} MiB of memory",
        "time": f"{limits.wall_seconds:g} s",
        "input": f"{limits.input_bytes:,} bytes to read",
        "output": f"{limits.output_bytes:,} bytes of result",
        "queue": "a free worker process in time",
    }[limit]
    return LimitExceeded(limit, allowed)


def _abandoned() -> WorkerFailed:
    return WorkerFailed("the caller of this call has stopped waiting")


def _make_garbage_error() -> WorkerFailed:
    return WorkerFailed("a worker process answered with something other than a result")


def _make_environment() -> dict[str, str]:
    """Return the library paths only. One arena, one thread: RLIMIT_AS counts what each of them reserves."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


def _kill_all(workers: set[_Worker]) -> None:
    for worker in list(workers):
        worker.kill()


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
