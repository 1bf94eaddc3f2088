"""``agentsd demo-tools``: the tools of the sample agent, on this machine."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from agentsd.cli.commands.demo_tools import make_demo_app
from tests.cli.conftest import Shell


async def test_it_serves_until_it_is_interrupted() -> None:
    """Its URL is printed, a signal ends it with 0, and nothing is printed besides."""
    command = [sys.executable, "-m", "agentsd", "demo-tools", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+) ", server.stderr.readline())
        assert found is not None
        async with aiohttp.ClientSession(found[1]) as client, client.get("/orders/123456") as reply:
            assert await reply.json() == {"order_id": "123456", "state": "packed", "cents": 7456}
        server.send_signal(signal.SIGINT)
        assert (*server.communicate(timeout=60), server.returncode) == ("", "", 0)


def test_a_port_that_is_taken(shell: Shell) -> None:
    """An error with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = shell.run("demo-tools", "--port", str(other.getsockname()[1]))
    assert done.code == 1
    assert "--port 0" in done.err


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"order_id": "123456", "cents": 5}', 200),
        (b'{"order_id": "12", "cents": 5}', 400),
        (b'{"order_id": "123456", "cents": true}', 400),
        (b'{"order_id": "123456", "cents": 0}', 400),
        (b"[" * 60_000, 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b" " * 70_000, 413),
    ],
)
async def test_a_refund_is_checked(body: bytes, status: int) -> None:
    """Whatever is sent, the reply is a status and a message."""
    async with TestServer(make_demo_app()) as server, aiohttp.ClientSession() as client:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        async with client.post(server.make_url("/refunds"), data=body, headers=headers) as reply:
            assert reply.status == status
            told: Any = await reply.json() if status != 413 else None
    assert status != 200 or told == {"order_id": "123456", "cents": 5, "state": "refunded"}
