"""GET /api/agents/{agent} with a user's token, against a bare aiohttp handler that answers the same body.

Once without rate limits and once with them: what the limiter costs is a figure of its own. All run on
the same event loop, each alone in a process; one load generator asks them by turns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from tests.bench.fleet import Fleet, fleet, slug
from tests.bench.processes import Server, serving, settle, up, workspace
from tests.bench.report import Figure, Scale, main, p50
from tests.bench.wire import Connection, body_of, load, request
from tests.bench.wire import run as run_async

CONNECTIONS = 16
TOKEN = "a-token-of-the-bench-only"
USER = f"tokens:\n  - name: bench\n    sha256: {sha256(TOKEN.encode()).hexdigest()}\n    role: viewer\n"
ENDLESS = "1000000000/minute"
AGAINST = "bare aiohttp, web.json_response on the same body"


def run(scale: Scale) -> Sequence[Figure]:
    """GET /api/agents/{agent} with a user's token, against a bare aiohttp handler on the same body."""
    path = f"/api/agents/{slug(7).replace('/', '~')}"
    with workspace() as folder, _servers(fleet(scale.agents).copy(folder), folder, path) as servers:
        run_async(_round(servers[0], path, 1))
        rounds = [
            [run_async(_round(server, path, scale.seconds)) for server in servers]
            for _ in range(scale.rounds)
        ]
    rates = [[one[side][0] for one in rounds] for side in range(3)]
    cpu, limited_cpu, bare_cpu = (p50([one[side][1] for one in rounds]) for side in range(3))
    share, limited_share = (
        p50([mine / bare for mine, bare in zip(rates[side], rates[2], strict=True)]) for side in (0, 1)
    )
    bare_rate = p50(rates[2])
    return [
        Figure("GET one agent, share of bare aiohttp's requests/s", share, "×", 0.8, at_least=True),
        Figure("  requests/s", p50(rates[0]), "/s", anchor=bare_rate, against=AGAINST),
        Figure("  server's CPU a request", cpu, "µs", anchor=bare_cpu, against=AGAINST),
        Figure(
            "GET one agent, with rate limits: share of bare aiohttp's", limited_share, "×", 0.7, at_least=True
        ),
        Figure("  requests/s", p50(rates[1]), "/s", anchor=bare_rate, against=AGAINST),
        Figure("  CPU of two rate limits a request", limited_cpu - cpu, "µs"),
    ]


@contextmanager
def _servers(made: Fleet, folder: Path, path: str) -> Iterator[tuple[Server, Server, Server]]:
    """Ours without and with rate limits, and the bare one. The agent's owner has a token."""
    (made.root / slug(7)).with_name("_user.yaml").write_text(USER)
    off = dict.fromkeys(("rate_limit", "rate_limit_address", "rate_limit_failed"), "off")
    on = dict.fromkeys(off, ENDLESS)
    with ExitStack() as stack:
        ours, limited = (
            stack.enter_context(up(made, folder / name, **rules)) for name, rules in (("a", off), ("b", on))
        )
        for one in (ours, limited):
            settle(one, made.count)
        (folder / "body.json").write_bytes(body_of(run_async(_ask(ours.url, path))))
        bare = [sys.executable, "-m", "tests.bench.bare", str(folder / "body.json")]
        yield ours, limited, stack.enter_context(serving(bare, made.environ()))


async def _ask(url: str, path: str) -> bytes:
    connection = await Connection.open(url)
    answer = await connection.send(_request(url, path))
    connection.close()
    return answer


def _request(url: str, path: str) -> bytes:
    return request("GET", url + path, authorization=f"Bearer {TOKEN}")


async def _round(server: Server, path: str, seconds: float) -> tuple[float, float]:
    """(requests a second, the server's CPU in microseconds a request)."""
    before = server.cpu()
    measured = await load(server.url, _request(server.url, path), connections=CONNECTIONS, seconds=seconds)
    return measured.rate, (server.cpu() - before) / len(measured.latencies) * 1e6


if __name__ == "__main__":
    main(run)
