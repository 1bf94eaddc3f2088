"""``agentsd demo-tools``: a server of tools on this machine, for samples, how-to pages and tests."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import Any

import click
from aiohttp import web

from agentsd.cli.compose.factories import run
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import AgentsdError

HOST = "127.0.0.1"
DEFAULT_PORT = 8090
BODY_MAX = 64 * 1024
"""Bytes of a request."""

STATES = ("received", "packed", "shipped", "delivered", "returned")
_ORDER = re.compile(r"\d{6}", re.ASCII)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command("demo-tools")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    type=click.IntRange(0, 65535),
    help=f"Port; 0 picks a free one [{DEFAULT_PORT}].",
)
def demo_tools_command(port: int) -> None:
    """Serve HTTP tools of an invented shop on 127.0.0.1, to try agents with.

    \b
    GET  /orders/{order_id}   the state of an order, by a number of six digits
    POST /refunds             {"order_id": "123456", "cents": 500}: what a refund would be

    Nothing is stored: the same request has the same answer. The sample agents.d/shop.yaml uses it.

    \b
    Examples:
      agentsd demo-tools
      agentsd demo-tools --port 9100
      curl http://127.0.0.1:8090/orders/123456
    """
    run(serve_tools(port))


async def serve_tools(port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raise ``AgentsdError`` where the port is taken."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    runner = web.AppRunner(make_demo_app(), access_log=None)
    await runner.setup()
    try:
        url = await _listen(runner, port)
        example = f"curl {url}/orders/123456"
        print_lines(get_stderr(), [(("green", "✓ "), ("", f"listening on {url}  (try: {example})"))])
        await stopped.wait()
    finally:
        await runner.cleanup()


def make_demo_app() -> web.Application:
    """Return the application: two tools, without a state."""
    app = web.Application(client_max_size=BODY_MAX)
    app.add_routes([web.get("/orders/{order_id}", show_order), web.post("/refunds", show_refund)])
    return app


async def _listen(runner: web.AppRunner, port: int) -> str:
    """Return the URL of the server once it listens."""
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError:
        raise AgentsdError(
            f"port {port} of {HOST} cannot be opened", hint="stop what uses it, or choose another: --port 0"
        ) from None
    return f"http://{HOST}:{runner.addresses[0][1]}"


async def show_order(request: web.Request) -> web.Response:
    """Return the state of an order, computed from its number; 404 for a number that is not one."""
    number = request.match_info["order_id"]
    if not _ORDER.fullmatch(number):
        return _refuse(404, "there is no such order: a number has six digits")
    state = STATES[int(number) % len(STATES)]
    return web.json_response({"order_id": number, "state": state, "cents": 1000 + int(number) % 9000})


async def show_refund(request: web.Request) -> web.Response:
    """Return what a refund would be; 400 for a body that does not describe one."""
    try:
        body: Any = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, RecursionError):
        body = None
    number = body.get("order_id") if isinstance(body, dict) else None
    cents = body.get("cents") if isinstance(body, dict) else None
    if not (isinstance(number, str) and _ORDER.fullmatch(number)) or type(cents) is not int or cents < 1:
        return _refuse(400, "a refund has an order_id of six digits, and cents of 1 or more")
    return web.json_response({"order_id": number, "cents": cents, "state": "refunded"})


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
