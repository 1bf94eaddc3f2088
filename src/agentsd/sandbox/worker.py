"""The worker process: reads a call, sets its limits, makes it, writes its result; until its pipe ends.

The pipe is descriptor 0, the only one that leads anywhere. Descriptors 1 and 2 are ``/dev/null``.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import resource
import select
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from agentsd.sandbox import wire
from agentsd.sandbox.limits import CallLimits

NICENESS = 10
"""Added to the server's niceness: about a tenth of a processor if the server uses all of it."""

_PIPE = 0
_PIECE_BYTES = 1 << 20


def main() -> None:
    """Serve calls until the parent closes the pipe, or ends."""
    _drop_rights()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        head = _read_bytes(wire.HEADER.size)
        _, size = wire.HEADER.unpack(head)
        kind, payload = _make_reply(_read_bytes(size))
        _write_bytes(wire.HEADER.pack(kind, len(payload)))
        _write_bytes(payload)
        if kind == wire.EXHAUSTED:
            os._exit(0)  # what is left of it is unknown


def _make_reply(request: bytes) -> tuple[bytes, bytes]:
    """Return kind and payload of the reply to one call."""
    limits: CallLimits
    try:
        module, name, arguments, limits = pickle.loads(request)  # noqa: S301  (from our parent)
        del request
        _set_limits(limits)
        kind, payload = _call_function(getattr(import_module(module), name), arguments)
        return (kind, payload) if len(payload) <= limits.output_bytes else (wire.TOO_LARGE, b"")
    except MemoryError:
        return wire.EXHAUSTED, b""
    except Exception as error:
        return _encode_error(error)


def _call_function(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bytes, bytes]:
    import orjson

    result = function(*arguments)
    return (wire.BYTES, result) if isinstance(result, bytes) else (wire.VALUE, orjson.dumps(result))


def _encode_error(error: Exception) -> tuple[bytes, bytes]:
    """Encode an error: of agentsd with its text; of others only the type, which contains no data."""
    import orjson

    from agentsd.core.errors import AgentsdError

    if not isinstance(error, AgentsdError):
        return wire.FOREIGN, type(error).__name__.encode()
    told = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return wire.KNOWN, orjson.dumps(told)


def _drop_rights() -> None:
    """Drop what no call needs: core dumps, files to write, precedence over the parent process."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # if memory runs out, the worker is killed first
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, 0)
    os.nice(NICENESS)  # below its parent's priority, whatever that is


def _set_limits(limits: CallLimits) -> None:
    """Set the limits of one call.

    CPU time counts from the process's start, so the used time is added.
    """
    _set_limit(resource.RLIMIT_AS, limits.memory)
    used = time.process_time()
    _set_limit(resource.RLIMIT_CPU, math.ceil(used + limits.cpu_seconds))


def _set_limit(which: int, soft: int) -> None:
    hard = resource.getrlimit(which)[1]
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(which, (soft, hard))


def _end_with_parent() -> None:
    """End as soon as the parent has, also during a call.

    A parent-death signal goes by thread, not process.
    """
    poll = select.poll()
    poll.register(_PIPE, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def _read_bytes(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(_PIPE, min(size - len(data), _PIECE_BYTES))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def _write_bytes(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_PIPE, view[:_PIECE_BYTES]) :]
    except OSError:  # the parent has gone
        os._exit(0)
