"""The anchor of ``chatting``: aiohttp and nothing else, passing an answer on as it comes.

``python -m tests.bench.bare_proxy URL``: prints its own URL, and forwards each POST to URL.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientSession, web

from tests.bench.wire import run


async def serve(backend: str) -> None:
    """Serve until ended."""
    async with ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            headers = {"Content-Type": request.content_type}
            body = await request.read()
            async with session.post(f"{backend}{request.path_qs}", data=body, headers=headers) as upstream:
                response = web.StreamResponse(status=upstream.status)
                response.content_type = upstream.content_type
                await response.prepare(request)
                async for piece in upstream.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(serve(sys.argv[1]))
