"""The real ``curl``, or Python's HTTP client with the same requests where there is none.

Bodies go in by standard input, so that no secret of a request is on a command line.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROGRAM = shutil.which("curl")


@dataclass(frozen=True, slots=True)
class Reply:
    """``head`` holds the header fields, by lower-case name."""

    status: int
    head: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def agent(self) -> dict[str, Any]:
        """The agent in the reply to a write, as a GET would give it."""
        return {name: value for name, value in self.json.items() if name != "write_back"}

    @property
    def settled(self) -> dict[str, Any]:
        """The agent without what changes by itself: it is opened in the background, or committed by hand."""
        moving = ("condition", "serving_version", "commit")
        return {name: value for name, value in self.agent.items() if name not in moving}

    @property
    def write_back(self) -> dict[str, Any]:
        """What the reply says of the file."""
        return dict(self.json["write_back"])

    @property
    def everything(self) -> str:
        """Head and body."""
        return "\n".join(f"{name}: {value}" for name, value in self.head.items()) + "\n\n" + self.text


class Curl:
    """Requests to one server."""

    def __init__(self, url: str, *, program: str | None = PROGRAM) -> None:
        self.url = url
        self._program = program

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request; ``if_match="x"`` is the header ``If-Match: x``. A text is sent as it is."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
        if data:
            sent.setdefault("content-type", "application/json")
        if self._program is None:
            return await asyncio.to_thread(self._plainly, method, path, sent, data)
        return await self._curl(method, path, sent, data)

    async def _curl(self, method: str, path: str, headers: Mapping[str, str], data: str) -> Reply:
        given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        sending = ["--data-binary", "@-"] if data else []
        process = await asyncio.create_subprocess_exec(
            *(str(self._program), "-q", "-sS", "-i", "--noproxy", "*", "-X", method, *given, "-H", "expect:"),
            *(*sending, self.url + path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, complaint = await process.communicate(data.encode())
        assert process.returncode == 0, complaint.decode()
        head, _, text = out.decode().partition("\r\n\r\n")
        first, *fields = head.split("\r\n")
        pairs = (field.partition(": ") for field in fields)
        return Reply(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, text)

    def _plainly(self, method: str, path: str, headers: Mapping[str, str], data: str) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, data.encode() if data else None, dict(headers))
            response = connection.getresponse()
            head = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, head, response.read().decode())
        finally:
            connection.close()
