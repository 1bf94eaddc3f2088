"""The anchor of ``reading``: aiohttp and nothing else, answering ``web.json_response`` on a given body.

``python -m tests.bench.bare FILE``: prints its URL and serves the JSON in FILE at every path.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from tests.bench.wire import run


async def serve(body: object) -> None:
    """Serve until ended."""

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body)

    app = web.Application()
    app.router.add_get("/api/agents/{agent}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(serve(json.loads(Path(sys.argv[1]).read_bytes())))
