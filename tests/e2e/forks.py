"""Start ``agentsd`` in processes of its own without loading it each time: a server forks itself for each.

A start of the interpreter with all that ``agentsd`` imports costs about a second of computing, and the tests
make hundreds. What is forked is a process like any other (its own pid, session, environment, folder, streams
and exit status), only loaded already. In a shell, what ``write_command`` writes stands for ``agentsd``: it
asks the same server. Where the start itself is the subject, or what the system shows of a process (its
command line and first environment), a test starts the interpreter: see ``Home.fork``.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

COMMAND = """\
#!{interpreter} -IS
# Stands for agentsd: has the fork server start it on these streams, hands signals on, ends as it ends.
import json, os, signal, socket, sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
reader, writer = os.pipe()
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = {{"arguments": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2, writer])
    os.close(writer)
    pid = int(server.recv(64))
for number in FORWARDED:
    signal.signal(number, lambda number, _: os.kill(pid, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
code = int(os.read(reader, 64))
sys.exit(code if code >= 0 else 128 - code)
"""

LOADED = ("agentsd.cli.commands.up", "agentsd.cli.commands.sync", "agentsd.web.app", "agentsd.plugins")
REQUEST_BYTES_MAX = 1 << 17
ROOT = Path(__file__).parents[2]


class ForkServer:
    """The server of one test process, started by its first use; it ends with that process."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._address = f"\0agentsd-forks-{os.getpid()}"  # of no file

    def fork(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, fds: Sequence[int]) -> int:
        """Return the pid of a new ``agentsd``. ``fds`` are its streams, and where its status is written."""
        server = self._socket or self._start()
        request = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        socket.send_fds(server, [json.dumps(request).encode()], list(fds))
        return int(server.recv(REQUEST_BYTES_MAX))

    def write_command(self, folder: Path) -> Path:
        """Write a program ``agentsd`` for shells; return its folder.

        It begins in 20 ms, and starts what ``fork`` starts.
        """
        if self._socket is None:
            self._start()
        folder.mkdir(exist_ok=True)
        file = folder / "agentsd"
        file.write_text(COMMAND.format(interpreter=sys.executable, address=self._address))
        file.chmod(0o755)
        return folder

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self._address)
            listener.listen()
            fds = (theirs.fileno(), listener.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.forks", *map(str, fds)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
            )
        self._socket = ours
        atexit.register(self.close)
        return ours

    def close(self) -> None:
        """End the server."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()


SERVER = ForkServer()


class ForkedProcess:
    """A forked ``agentsd``, as ``asyncio.subprocess.Process`` shows one."""

    def __init__(
        self,
        pid: int,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
        status: asyncio.StreamReader,
    ) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._watching = asyncio.create_task(self._watch(status))

    async def _watch(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.read())
        return self.returncode

    async def wait(self) -> int:
        """Wait until it has ended; its exit status, or minus the signal that ended it."""
        return await asyncio.shield(self._watching)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


async def start_forked(
    arguments: Sequence[str], env: Mapping[str, str], cwd: Path, typed: bytes
) -> ForkedProcess:
    """Return a process. ``typed`` is its input; a pipe must hold it."""
    pipes = [os.pipe() for _ in range(4)]
    (stdin, typing), *readable = pipes
    os.write(typing, typed)
    os.close(typing)
    writable = [writer for _, writer in readable]
    try:
        pid = SERVER.fork(arguments, env, cwd, [stdin, *writable])
    finally:
        for fd in (stdin, *writable):
            os.close(fd)
    out, err, status = [await read_pipe(reader) for reader, _ in readable]
    return ForkedProcess(pid, out, err, status)


async def read_pipe(fd: int) -> asyncio.StreamReader:
    """Return a reader of a pipe, which closes it at its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    return reader


def serve(connection: socket.socket, listener: socket.socket) -> bool:
    """Fork for each request. True in a child, set up to be ``agentsd``; False when the tests are over."""
    statuses: dict[int, int] = {}
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([connection, listener, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            report(statuses)
        if listener in ready:
            shell, _ = listener.accept()
            if answer(shell, statuses) == 0:
                shell.detach()  # closed already
                return True
            shell.close()
        if connection in ready:
            pid = answer(connection, statuses)
            if not pid:
                return pid == 0


def answer(connection: socket.socket, statuses: dict[int, int]) -> int | None:
    """Fork for one request, and return the pid: 0 in the child. None: there is no more request."""
    data, fds, _, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX, 4)
    if not data:
        return None
    pid = os.fork()
    if not pid:
        become(json.loads(data), fds)
        return 0
    statuses[pid] = fds[3]
    for fd in fds[:3]:
        os.close(fd)
    connection.send(str(pid).encode())
    return pid


def report(statuses: dict[int, int]) -> None:
    """Write the exit status of each child that ended."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = statuses.pop(pid)
        with suppress(BrokenPipeError):  # the test did not wait for it
            os.write(fd, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(fd)


def become(request: dict[str, object], fds: Sequence[int]) -> None:
    """Make this process what the request describes."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for target, fd in enumerate(fds[:3]):
        os.dup2(fd, target)
    os.closerange(3, max(fds) + 64)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    tempfile.tempdir = None
    sys.argv = ["agentsd", *request["arguments"]]  # type: ignore[misc]
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def main(connection_fd: int, listener_fd: int) -> None:
    """Load ``agentsd``, and be it in each child."""
    for name in LOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=connection_fd) as connection, socket.socket(fileno=listener_fd) as listener:
        child = serve(connection, listener)
        if child:  # closed already
            connection.detach()
            listener.detach()
    if child:
        from agentsd.__main__ import main as run

        run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
