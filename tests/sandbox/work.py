"""Functions that tests have a worker run, hostile ones among them."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from agentsd.core.errors import ConfigError


def echo(value: Any) -> Any:
    return value


def surroundings() -> dict[str, Any]:
    """What a worker sees of the process that started it."""
    return {
        "environment": dict(os.environ),
        "descriptors": [fd for fd in range(3, 512) if _is_open(fd)],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "modules": sorted(name for name in sys.modules if name.startswith("agentsd.")),
        "pid": os.getpid(),
    }


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def spin(seconds: float = 60.0) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def sleep() -> None:
    time.sleep(60)


def hoard() -> int:
    return len([bytearray(1 << 20) for _ in range(4096)])


def flood(size: int) -> bytes:
    return bytes(size)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def answer_garbage(data: bytes) -> None:
    os.write(0, data)
    time.sleep(60)


def fail() -> None:
    raise LookupError("hunter2")


def refuse() -> None:
    raise ConfigError("this is ours", hint="mend it")


def write(path: str) -> None:
    Path(path).write_bytes(b"x")
