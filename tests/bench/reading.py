"""GET /api/agents/{agent} with a token, against a bare aiohttp handler that answers the same body.

Both run on the same event loop, alone in a process; one load generator asks them by turns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.bench.fleet import fleet, slug
from tests.bench.processes import Server, serving, settle, up, workspace
from tests.bench.report import Figure, Scale, main, p50
from tests.bench.wire import Connection, body_of, load, request
from tests.bench.wire import run as run_async

CONNECTIONS = 16
TOKEN = "a-token-of-the-bench-only"


def run(scale: Scale) -> Sequence[Figure]:
    """GET /api/agents/{agent} with a token, against a bare aiohttp handler on the same body."""
    path = f"/api/agents/{slug(7).replace('/', '~')}"
    with workspace() as folder:
        (folder / "tokens").write_text(f"{TOKEN}\n")
        made = fleet(scale.agents).copy(folder)
        with up(made, folder, token_file=str(folder / "tokens")) as ours:
            settle(ours, made.count)
            (folder / "body.json").write_bytes(body_of(run_async(_ask(ours.url, path))))
            bare_command = [sys.executable, "-m", "tests.bench.bare", str(folder / "body.json")]
            with serving(bare_command, made.environ()) as bare:
                run_async(_round(ours, path, 1))
                rounds = [
                    [run_async(_round(server, path, scale.seconds)) for server in (ours, bare)]
                    for _ in range(scale.rounds)
                ]
    rates, bare_rates = ([one[side][0] for one in rounds] for side in (0, 1))
    cpu, bare_cpu = (p50([one[side][1] for one in rounds]) for side in (0, 1))
    ratio = p50([mine / other for mine, other in zip(rates, bare_rates, strict=True)])
    against = "bare aiohttp, web.json_response on the same body"
    return [
        Figure("GET one agent, share of bare aiohttp's requests/s", ratio, "×", 0.8, at_least=True),
        Figure("  requests/s", p50(rates), "/s", anchor=p50(bare_rates), against=against),
        Figure("  server's CPU a request", cpu, "µs", anchor=bare_cpu, against=against),
    ]


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
