"""Server side of one engine's process: its start, its requests, its end.

The process gets nothing but its channel: no other file, an environment by allow-list, bounded
memory. Its answers are data, held to the bounds of ``frames``. However it ends, every request gets
an answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from agentsd.providers.local.frames import (
    ANSWER_BYTES_MAX,
    LENGTHS,
    BadFrame,
    pack_frame,
    parse_header,
    parse_lengths,
)
from agentsd.providers.local.spec import AnswerPart, EngineFailure, EngineSpec, LoadFailure

HOST_PROGRAM = "from agentsd.providers.local.host import main; main()"
"""Program of a process; with ``-m``, the module and its exceptions would exist twice."""
ENVIRONMENT_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Variables of the server that an engine's process gets; none contains a secret."""
QUIET_ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # by default llama.cpp starts a debugger on itself when it aborts
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
LOAD_TIMEOUT_SECONDS = 300.0
"""Longest time from a process's start until its model is loaded."""
STUCK_SECONDS = 120.0
"""A cancelled request that runs on for this long is stuck: its process is killed."""
UNREAD_BYTES = 64 << 20
"""Parts of one answer that may wait to be read; beyond them the answer is given up."""
CODE_CHARACTERS = 64
READ_BYTES = 1 << 20
REAP_SECONDS = 0.1


class EngineRequest:
    """Request that was sent. Its parts wait here until they are taken."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = False  # whether the process is done with it
        self.unread = 0
        self._parts: asyncio.Queue[AnswerPart | EngineFailure | None] = asyncio.Queue()

    async def next(self) -> AnswerPart | None:
        """Return the next part; None at the end of the answer. Raises ``EngineFailure``."""
        part = await self._parts.get()
        if isinstance(part, EngineFailure):
            raise part
        if part:
            self.unread -= len(part.body)
        return part

    def add(self, part: AnswerPart) -> bool:
        """Keep ``part`` until it is taken; return whether there is room for it."""
        self.unread += len(part.body)
        if self.unread > UNREAD_BYTES:
            self._parts.put_nowait(EngineFailure(EngineFailure.UNREAD))
            return False
        self._parts.put_nowait(part)
        return True

    def end(self, failure: EngineFailure | None = None) -> None:
        """Add the end of the answer."""
        self.ended = True
        self._parts.put_nowait(failure)


class EngineProcess:
    """Running process. ``start`` makes one; ``aclose`` ends it, whatever it does."""

    def __init__(
        self, child: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = child.pid
        self.alive = True
        self._child = child
        self._reader = reader
        self._writer = writer
        self._numbers = count(1)
        self._requests: dict[int, EngineRequest] = {}
        self._stuck: dict[int, asyncio.TimerHandle] = {}  # cancelled requests that have not ended
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, spec: EngineSpec, memory: int, admit: Callable[[int], None]) -> EngineProcess:
        """Start a process and load its model.

        Raises ``LoadFailure``, ``TimeoutError``, and as ``admit``.

        ``admit`` is called with the bytes that the model needs, before it is loaded, and raises to refuse
        it.
        """
        process = await _spawn_process()
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
                await process._load(spec, memory, admit)
        except BaseException:
            await process._end()
            raise
        process._reading = asyncio.create_task(process._read())
        return process

    @property
    def busy(self) -> bool:
        """Return whether it works on a request."""
        return bool(self._requests or self._stuck)

    def memory(self) -> int:
        """Return the bytes of memory of its own, without the files that it maps; 0 where that is unknown."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith("RssAnon:")), "RssAnon: 0")
        return int(line.split()[1]) << 10

    async def send(self, op: str, fields: Mapping[str, Any], body: bytes) -> EngineRequest:
        """Send a request. Raises ``EngineFailure``; cancelled, it leaves nothing behind."""
        request = self.post(op, fields, body)
        try:
            await self._writer.drain()
        except OSError:
            self.kill()
            raise EngineFailure(EngineFailure.ENDED) from None
        except BaseException:
            self.leave(request)
            raise
        return request

    def post(self, op: str, fields: Mapping[str, Any], body: bytes = b"") -> EngineRequest:
        """Queue a request for the process, without waiting for room. Raises ``EngineFailure``."""
        if not self.alive:
            raise EngineFailure(EngineFailure.ENDED)
        request = EngineRequest(next(self._numbers))
        header = {"id": request.number, "op": op, "fields": dict(fields)}
        self._writer.write(pack_frame(header, body))
        if body:
            self._writer.write(body)
        self._requests[request.number] = request
        return request

    def leave(self, request: EngineRequest) -> None:
        """Cancel a request that is no longer awaited. May be called for one that has ended."""
        if self._requests.pop(request.number, None) is None or not self.alive:
            return
        self._writer.write(pack_frame({"id": request.number, "cancel": True}))
        self._stuck[request.number] = asyncio.get_running_loop().call_later(STUCK_SECONDS, self.kill)

    def kill(self) -> None:
        """End the process at once; its requests fail."""
        self.alive = False
        self._child.kill()

    async def aclose(self) -> None:
        """End the process and wait until it is gone."""
        self.kill()
        if self._reading:
            await asyncio.wait([self._reading])

    async def _load(self, spec: EngineSpec, memory: int, admit: Callable[[int], None]) -> None:
        start = {"engine": spec.module, "settings": dict(spec.settings), "threads": spec.threads}
        self._writer.write(pack_frame({**start, "memory": memory}))
        admit(await self._expect("need"))
        self._writer.write(pack_frame({"load": True}))
        await self._expect("ready")

    async def _expect(self, name: str) -> int:
        try:
            header, _ = await self._receive()
        except (asyncio.IncompleteReadError, OSError, BadFrame):
            raise LoadFailure(LoadFailure.ENDED) from None
        if "failed" in header:
            raise LoadFailure(_check_code(header["failed"]))
        value = header.get(name)
        if not isinstance(value, int) or value < 0:
            raise LoadFailure(LoadFailure.ENDED)
        return value

    async def _receive(self) -> tuple[dict[str, Any], bytes]:
        header, body = parse_lengths(await self._reader.readexactly(LENGTHS.size), ANSWER_BYTES_MAX)
        frame = await self._reader.readexactly(header + body)
        return parse_header(frame[:header]), frame[header:]

    async def _read(self) -> None:
        try:
            while True:
                self._deliver(*await self._receive())
        except (asyncio.IncompleteReadError, OSError, BadFrame):
            pass
        finally:
            await self._end()

    def _deliver(self, header: Mapping[str, Any], body: bytes) -> None:
        number = header.get("id")
        if not isinstance(number, int):
            raise BadFrame("no id")
        fields, request = header.get("part"), self._requests.get(number)
        if isinstance(fields, dict):
            if request and not request.add(AnswerPart(fields, body)):
                self.leave(request)
            return
        if timer := self._stuck.pop(number, None):
            timer.cancel()
        if request:
            del self._requests[number]
            request.end(EngineFailure(_check_code(header["error"])) if "error" in header else None)

    async def _end(self) -> None:
        """Kill and reap the process; fail its open requests."""
        self.kill()
        requests, self._requests = self._requests, {}
        for request in requests.values():
            request.end(EngineFailure(EngineFailure.ENDED))
        for timer in self._stuck.values():
            timer.cancel()
        self._stuck.clear()
        self._writer.transport.abort()
        delay = 0.001
        while self._child.poll() is None:
            await asyncio.sleep(delay)
            delay = min(2 * delay, REAP_SECONDS)


async def _spawn_process() -> EngineProcess:
    ours, theirs = socket.socketpair()
    try:
        child = subprocess.Popen(  # noqa: ASYNC220  (vfork: a millisecond; its death signal is bound to this thread)
            [sys.executable, "-P", "-c", HOST_PROGRAM, str(os.getpid())],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_make_environment(),
            cwd="/",
        )
    except OSError:
        ours.close()
        raise LoadFailure(LoadFailure.ENDED) from None
    finally:
        theirs.close()
    ours.setblocking(False)
    try:
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=READ_BYTES)
    except BaseException:
        child.kill()
        child.wait()
        ours.close()
        raise
    return EngineProcess(child, reader, writer)


def _make_environment() -> dict[str, str]:
    """Return the variables of an engine's process: a few of the server's, and where it imports from."""
    kept = {name: os.environ[name] for name in ENVIRONMENT_VARIABLES if name in os.environ}
    imports = os.pathsep.join(place for place in sys.path if place)
    return {**kept, **QUIET_ENVIRONMENT, "PYTHONPATH": imports}


def _check_code(value: object) -> str:
    """Return a code that the process sent, if it is a plain word: it is data, and may reach a message."""
    if isinstance(value, str) and len(value) <= CODE_CHARACTERS and value.isascii() and value.isidentifier():
        return value
    return "Error"
