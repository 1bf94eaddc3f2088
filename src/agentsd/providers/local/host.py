"""The process of one engine, run by ``process``: its channel is fd 0, its argument the server's process id.

It imports the engine's module, states what memory the model needs, loads it when that is granted, and
then answers requests in as many threads as the engine has. It ends with its channel or its parent.

An engine's module has ``need(settings) -> int`` (bytes) and ``load(settings)``, whose result has
``operations``: names to functions of a ``EngineCall``.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from agentsd.providers.local.frames import (
    LENGTHS,
    REQUEST_BYTES_MAX,
    BadFrame,
    pack_frame,
    parse_header,
    parse_lengths,
)

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
KILL_SIGNAL = 9
OOM_SCORE = "700"
"""If memory runs out, the kernel ends an engine rather than the server."""


class EngineRefusal(Exception):
    """Refusal of a request by the engine, with a code that its provider handles."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Engine(Protocol):
    """Loaded model."""

    @property
    def operations(self) -> Mapping[str, Callable[[EngineCall], None]]:
        """Return the operations that may be requested, by name."""


class Channel:
    """Connection to the server. One thread may read, any thread may write."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader: BinaryIO = connection.makefile("rb")
        self._lock = threading.Lock()

    def receive(self) -> tuple[dict[str, Any], bytes] | None:
        """Return the next frame, or None at the end of the connection."""
        head = self._reader.read(LENGTHS.size)
        if len(head) < LENGTHS.size:
            return None
        header, body = parse_lengths(head, REQUEST_BYTES_MAX)
        text, rest = self._reader.read(header), self._reader.read(body)
        return (parse_header(text), rest) if len(text) + len(rest) == header + body else None

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Write a frame; wait while the server does not read."""
        frame = pack_frame(header, body)
        with self._lock:
            self._connection.sendall(frame + body)


class EngineCall:
    """Request, as the engine sees it."""

    def __init__(self, channel: Channel, number: int, fields: dict[str, Any], body: bytes) -> None:
        self.fields = fields
        self.body = body
        self.stop = threading.Event()
        self._channel = channel
        self._number = number

    @property
    def stopped(self) -> bool:
        """Return whether the answer is no longer awaited: the work should end."""
        return self.stop.is_set()

    def emit(self, fields: dict[str, Any], body: bytes = b"") -> bool:
        """Send a part of the answer; return whether the work should end."""
        if not self.stopped:
            self._channel.send({"id": self._number, "part": fields}, body)
        return self.stopped

    def end(self, error: str = "") -> None:
        """Send the end of the answer."""
        last = {"error": error} if error else {"end": True}
        self._channel.send({"id": self._number, **last})


class EngineHost:
    """Server of requests in the engine's process, until the server closes the channel."""

    def __init__(self, channel: Channel, engine: Engine, threads: int) -> None:
        self._channel = channel
        self._operations = engine.operations
        self._executor = ThreadPoolExecutor(threads)
        self._calls: dict[int, tuple[EngineCall, Future[None]]] = {}

    def serve(self) -> None:
        """Read frames and pass their work to the threads."""
        while frame := self._channel.receive():
            header, body = frame
            number = int(header["id"])
            if "cancel" in header:
                self._cancel(number)
            else:
                self._start(number, header, body)

    def _start(self, number: int, header: dict[str, Any], body: bytes) -> None:
        call = EngineCall(self._channel, number, header["fields"], body)
        job = self._executor.submit(self._work, self._operations[header["op"]], call)
        self._calls[number] = (call, job)
        job.add_done_callback(lambda _: self._calls.pop(number, None))

    def _cancel(self, number: int) -> None:
        known = self._calls.get(number)
        if known:
            call, job = known
            call.stop.set()
            if job.cancel():
                call.end()

    @staticmethod
    def _work(operation: Callable[[EngineCall], None], call: EngineCall) -> None:
        try:
            operation(call)
        except EngineRefusal as refusal:
            call.end(refusal.code)
        except Exception as error:  # a library's text may quote the prompt: only the kind is sent
            call.end(type(error).__name__)
        else:
            call.end()


def main() -> None:
    """Serve the channel on fd 0. Does not return: a native library's destructors may hang."""
    _end_with_parent(int(sys.argv[1]))
    try:
        _run_engine(_take_channel())
    except (OSError, BadFrame):  # the server is gone
        pass
    finally:
        os._exit(0)


def _run_engine(channel: Channel) -> None:
    first = channel.receive()
    if first is None:
        return
    start = first[0]
    _limit_memory(int(start["memory"]))
    try:
        module = import_module(start["engine"])
        channel.send({"need": int(module.need(start["settings"]))})
        if channel.receive() is None:
            return
        engine: Engine = module.load(start["settings"])
    except OSError as error:  # of the channel, or of a model's file
        channel.send({"failed": type(error).__name__})
        return
    except EngineRefusal as refusal:
        channel.send({"failed": refusal.code})
        return
    except Exception as error:
        channel.send({"failed": type(error).__name__})
        return
    channel.send({"ready": True})
    EngineHost(channel, engine, int(start["threads"])).serve()


def _take_channel() -> Channel:
    """Return the channel, with nothing left on fd 0 that a library could read."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    connection.setblocking(True)
    return Channel(connection)


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that happens."""
    import ctypes

    with suppress(OSError, AttributeError):  # on other systems than Linux, the channel's end has to suffice
        library = ctypes.CDLL(None)
        library.prctl(DEATH_SIGNAL, KILL_SIGNAL)
        library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit_memory(memory: int) -> None:
    """Limit this process to ``memory`` bytes of its own (read-only mappings do not count); no core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
