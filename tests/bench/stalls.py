"""The longest stall of the event loop while outsiders bring work whose size they choose.

Each case goes to a running ``agentsd up``; then an ordinary manifest is saved, and the case is over when that
is live. Two figures a case: the wall stall, and in its name how long the case took.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import hostile
from tests.bench.fleet import Fleet, fleet, slug
from tests.bench.processes import AGENTSD, Server, serving, workspace
from tests.bench.report import Figure, Scale, main
from tests.stall_meter import worst

GOAL_MS = 50.0
CASE_SECONDS = 90.0
"""After which a case is given up, and the server is started anew."""
REQUEST_SECONDS = 60.0
NOTICE_SECONDS = 0.5
"""In which the watcher has seen what a case wrote: the next save is another round."""

_QUICK = ("a heading of 3,000 blanks", "1 MiB of numbers", "44 links that double at each step")

Work = Callable[["Place"], None]


class Place:
    """A server, its folder, and the meter in it."""

    def __init__(self, made: Fleet, server: Server, meter: Path) -> None:
        self.made, self.server, self.meter = made, server, meter
        self.root = made.root / "hostile"
        self._saves = 0

    def write(self, files: dict[str, bytes]) -> None:
        """Put files into the folder of manifests; manifests last."""
        for path in sorted(files, key=lambda name: name.endswith(".yaml")):
            file = self.made.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(files[path])

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request; status 0 where no answer comes."""
        connection = HTTPConnection(urlsplit(self.server.url).netloc, timeout=REQUEST_SECONDS)
        headers = {"content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with suppress(OSError):
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        return 0, b""

    def settle(self) -> None:
        """Save an ordinary manifest, and wait until it is live. Raises ``TimeoutError``."""
        self._saves += 1
        line = f"You are a patient agent, edition {self._saves}."
        file = self.made.path(0)
        lines = file.read_text().splitlines(keepends=True)
        at = next(n for n, text in enumerate(lines) if text.startswith("  You are a patient"))
        lines[at] = f"  {line}\n"
        file.write_text("".join(lines))
        deadline = time.monotonic() + CASE_SECONDS
        while time.monotonic() < deadline:
            if line.encode() in self.ask("GET", f"/api/agents/{slug(0).replace('/', '~')}")[1]:
                return
            time.sleep(0.05)
        raise TimeoutError(f"an edit was not live within {CASE_SECONDS:.0f} s")

    def clean(self) -> None:
        """Remove what a case left."""
        shutil.rmtree(self.root, ignore_errors=True)


def cases() -> dict[str, Work]:
    """Title → what is done."""
    found: dict[str, Work] = {
        title: lambda place, make=make: place.write(make())  # type: ignore[misc]
        for title, make in hostile.files().items()
    }
    found["44 links that double at each step"] = lambda place: hostile.double_links(place.root)
    found["sparse files of 10 GiB, and /dev/zero"] = lambda place: hostile.sparse(place.root)
    found["64 KiB of Markdown, 16 at a time"] = _markdown
    found["revisions?diff=true of 900 kB texts, 4 at a time"] = _revisions
    found["values and dry runs of 900 kB, 4 at a time"] = _dry_runs
    found["a body of 4,000,000 lists, 4 at a time"] = _bodies
    return found


def _bodies(place: Place) -> None:
    body = {"model": "hostile", "messages": [[]] * 2_600_000}
    _at_a_time(4, lambda: place.ask("POST", "/v1/chat/completions", body))


def _at_a_time(count: int, work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(count) as pool:
        for one in [pool.submit(work) for _ in range(count)]:
            one.result()


def _markdown(place: Place) -> None:
    _at_a_time(16, lambda: place.ask("POST", "/api/markdown", {"text": hostile.markdown()}))


def _long_prompt(edition: int) -> str:
    lines = "".join(f"    {(n * (edition + 3)) % 997} {n % 10}\n" for n in range(80_000))
    return f"system_prompt: |\n{lines[:900_000].rpartition(chr(10))[0]}\n"


def _revisions(place: Place) -> None:
    for edition in range(8):
        place.write({"hostile/a.yaml": hostile.manifest(_long_prompt(edition))})
        place.settle()
    _at_a_time(4, lambda: place.ask("GET", "/api/agents/hostile~a/revisions?diff=true&limit=100"))


def _dry_runs(place: Place) -> None:
    place.write({"hostile/a.yaml": hostile.manifest(_long_prompt(1))})
    place.settle()
    text = _long_prompt(2)

    def work() -> None:
        place.ask("GET", "/api/agents/hostile~a/values")
        place.ask("PATCH", "/api/agents/hostile~a?dry_run=true", {"system_prompt": text})

    _at_a_time(4, work)


@contextmanager
def _running(folder: Path, agents: int) -> Iterator[Place]:
    made = fleet(agents).copy(folder)
    meter = folder / "stalls"
    command = [AGENTSD[0], "-m", "tests.stall_meter", str(meter), "up", "--path", str(made.root)]
    command += ["--data-dir", str(folder / "postgres"), "--port", "0", "--log-level", "warning"]
    with serving(command, made.environ()) as server:
        place = Place(made, server, meter)
        place.settle()
        yield place


def run(scale: Scale) -> Sequence[Figure]:
    """The longest stall of the event loop."""
    figures, waiting = [], list(cases().items())
    if scale == Scale.tiny():
        waiting = [one for one in waiting if one[0] in _QUICK]
    while waiting:
        with ExitStack() as stack:
            folder = stack.enter_context(workspace())
            place = stack.enter_context(_running(folder, min(scale.agents, 60)))
            while waiting:
                title, work = waiting.pop(0)
                figure, sound = _measure(place, title, work)
                figures.append(figure)
                print(f"{figure.what}: {figure.value:.0f} ms", flush=True)
                if not sound:
                    break
    return figures


def _measure(place: Place, title: str, work: Work) -> tuple[Figure, bool]:
    began, sound = time.time(), True
    try:
        work(place)
        time.sleep(NOTICE_SECONDS)
        place.settle()
    except TimeoutError:
        sound = False
    took = time.time() - began
    if sound:
        place.clean()
        place.settle()
    stall = worst(place.meter, began)
    wall = stall.wall if sound else max(stall.wall, took)
    name = f"stall: {title} ({took:.1f} s{'' if sound else ', given up'}; CPU {stall.cpu * 1000:.0f} ms)"
    return Figure(name, wall * 1000, "ms", GOAL_MS), sound


if __name__ == "__main__":
    main(run)
