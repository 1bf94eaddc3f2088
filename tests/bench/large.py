"""100,000 agents beside 10,000: memory, and whether the cost grows in proportion. Takes minutes."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.bench.fleet import Fleet, fleet
from tests.bench.processes import AGENTSD, Postgres, Server, postgres, serving, spend
from tests.bench.report import Figure, Scale, main

LARGE = 10  # times the ordinary fleet


@dataclass(frozen=True)
class Cost:
    """What one fleet costs."""

    sync: float  # s, cold
    ready: float  # s until a runtime serves all of it
    memory: float  # MiB that the runtime holds once it has opened every agent


def run(scale: Scale) -> Sequence[Figure]:
    """100,000 agents beside 10,000: memory, and whether the cost grows in proportion."""
    with postgres() as server:
        small = _cost(server, fleet(scale.agents))
        large = _cost(server, fleet(scale.agents * LARGE))
    count = f"{scale.agents * LARGE:,} agents"
    against = f"{LARGE} × the cost of {scale.agents:,}"
    return [
        Figure(f"a runtime's memory, {count}", large.memory, "MiB", 1024),
        Figure(f"cold sync, {count}", large.sync, "s", anchor=small.sync * LARGE, against=against),
        Figure(f"a runtime's start, {count}", large.ready, "s", anchor=small.ready * LARGE, against=against),
    ]


def _cost(postgres: Postgres, made: Fleet) -> Cost:
    environ = made.environ() | {"AGENTSD_DATABASE_URL": postgres.fresh()}
    synced = spend([*AGENTSD, "sync", "--path", str(made.root)], environ)
    started = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(serving([*AGENTSD, "serve", "--port", "0"], environ))
        _await_loaded(server)
        ready = time.monotonic() - started
        _await_opened(server, made.count)
        return Cost(synced.wall, ready, _resident(server))


def _await_loaded(server: Server) -> None:
    while _metric(server, "agentsd_version") < 1:
        time.sleep(0.05)


def _await_opened(server: Server, count: int) -> None:
    """The verifier opens every agent once."""
    while _metric(server, "agentsd_documents_opened_total") < count:
        time.sleep(0.5)


def _metric(server: Server, name: str) -> float:
    with urlopen(f"{server.url}/metrics", timeout=30) as reply:  # noqa: S310  (our own)
        found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _resident(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(run)
