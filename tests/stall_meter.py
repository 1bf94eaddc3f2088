"""Measures how long the event loop of a process stands still, from within.

``python -m tests.stall_meter FILE up --port 0`` is ``agentsd up --port 0`` with a ticker on the loop of its
main thread. Each stall above ``NOTED_SECONDS`` is a line of JSON in FILE, ``{"at", "wall", "cpu"}``: when it
ended (seconds since the epoch), how late the ticker was, and how much CPU time the loop's thread used
meanwhile. Wall without CPU is somebody else's: another thread that holds the interpreter, or a busy machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICK_SECONDS = 0.005
NOTED_SECONDS = 0.01


@dataclass(frozen=True)
class Stall:
    """One stretch in which the loop did not turn, in seconds."""

    at: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0


class StallMeter:
    """A ticker on one loop; start it in the loop's thread."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._wall = self._cpu = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tick for as long as the loop runs."""
        self._wall, self._cpu = time.perf_counter(), time.thread_time()
        loop.call_later(TICK_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        wall = time.perf_counter() - self._wall - TICK_SECONDS
        if wall > NOTED_SECONDS:
            cpu = time.thread_time() - self._cpu
            line = json.dumps({"at": time.time(), "wall": wall, "cpu": cpu})
            os.write(self._descriptor, f"{line}\n".encode())
        self.start(loop)


def worst(file: Path, since: float = 0.0, until: float = float("inf")) -> Stall:
    """The longest stall that ended between two moments (seconds since the epoch)."""
    lines = file.read_text().splitlines() if file.exists() else []
    stalls = (Stall(**json.loads(line)) for line in lines)
    within = [one for one in stalls if since <= one.at <= until]
    return max(within, key=lambda one: one.wall, default=Stall())


def main(file: str, *arguments: str) -> None:
    """Run ``agentsd`` with a ticker on the loop that it makes."""
    meter, run = StallMeter(Path(file)), asyncio.Runner.run

    def measured(self: asyncio.Runner, *given: Any, **named: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # leadership has a loop of its own
            loop = self.get_loop()
            loop.call_soon(meter.start, loop)
        return run(self, *given, **named)

    asyncio.Runner.run = measured  # type: ignore[method-assign]
    sys.argv = ["agentsd", *arguments]
    from agentsd.cli.main import main as agentsd

    agentsd()


if __name__ == "__main__":
    main(*sys.argv[1:])
