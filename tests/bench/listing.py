"""Pages of the list as people ask for them: 50 agents in every order, by text and by vendor; and values."""

from __future__ import annotations

import time
from collections.abc import Sequence

from agentsd.web.views.sort_order import SORTS
from tests.bench.fleet import fleet, slug
from tests.bench.processes import settle, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import Connection, request
from tests.bench.wire import run as run_async

PAGE = "/api/agents?limit=50&view=summary"
GOAL = 30.0  # ms


def run(scale: Scale) -> Sequence[Figure]:
    """A page of the list, and one agent's values."""
    made = fleet(scale.agents)
    with workspace() as folder, up(made, folder) as server:
        settle(server, made.count)
        (vendor,) = run_async(_ask(server.url, f"{PAGE}&provider=groq.com", 1))
        sorts = {sort: run_async(_ask(server.url, f"{PAGE}&sort={sort}", scale.samples)) for sort in SORTS}
        slowest = max(sorts, key=lambda sort: p50(sorts[sort]))
        found = run_async(_ask(server.url, f"{PAGE}&q=agent-1&sort=-name", scale.samples))
        again = run_async(_ask(server.url, f"{PAGE}&provider=groq.com", scale.samples))
        path = f"/api/agents/{slug(7).replace('/', '~')}/values"
        values = run_async(_ask(server.url, path, scale.samples))
    return [
        Figure(
            f"50 of {made.count:,} agents, by {slowest} (the slowest order), p50",
            p50(sorts[slowest]),
            "ms",
            GOAL,
        ),
        Figure("  p99", p99(sorts[slowest]), "ms"),
        Figure("  found by a text in name or slug, p50", p50(found), "ms", GOAL),
        Figure("  p99", p99(found), "ms"),
        Figure("  of one vendor, when first asked for (reads every manifest)", vendor, "ms"),
        Figure("  of one vendor, p50", p50(again), "ms", GOAL),
        Figure("the values of one agent and where they stand, p50", p50(values), "ms"),
    ]


async def _ask(url: str, path: str, times: int) -> list[float]:
    """Milliseconds of each answer, one after the other."""
    connection = await Connection.open(url)
    data, taken = request("GET", url + path), []
    for _ in range(times):
        started = time.perf_counter()
        await connection.send(data)
        taken.append((time.perf_counter() - started) * 1e3)
    connection.close()
    return taken


if __name__ == "__main__":
    main(run)
