"""A client of the HTTP interface, as strict as a user: a stream counts only if it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson

from tests.e2e.processes import until


@dataclass(frozen=True, slots=True)
class Streamed:
    """One whole stream."""

    words: tuple[str, ...]
    version: str

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self.words)


class Broken(Exception):
    """A request that failed or a stream that was cut."""


class Client:
    """``async with Client() as client``. Every URL is whole."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, url: str, status: int = 200) -> Any:
        """The JSON of a reply with this status."""
        async with self._session.get(url) as response:
            body = await response.read()
            assert response.status == status, f"{response.status} {body.decode()}"
            return orjson.loads(body)

    async def raw(self, method: str, url: str, **options: Any) -> tuple[int, str]:
        """Status and everything else of a reply: head and body as one text."""
        async with self._session.request(method, url, **options) as response:
            head = "".join(f"{name}: {value}\n" for name, value in response.headers.items())
            return response.status, head + (await response.read()).decode("utf-8", "replace")

    async def ready(self, url: str) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz."""
        async with self._session.get(f"{url}/readyz") as response:
            return response.status, orjson.loads(await response.read())

    async def serves(self, url: str, version: int) -> None:
        """Wait until the runtime serves this version or a newer one."""

        async def look() -> bool:
            return bool((await self.ready(url))[1]["version"] >= version)

        await until(look)

    async def metric(self, url: str, name: str) -> float:
        """The value of a metric, with its labels as they are printed; 0 where it is not there."""
        async with self._session.get(f"{url}/metrics") as response:
            for line in (await response.text()).splitlines():
                if line.startswith(f"{name} "):
                    return float(line.rpartition(" ")[2])
        return 0.0

    async def say(self, url: str, model: str, text: str = "hello") -> str:
        """The whole answer of an agent. Raises ``Broken``."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        async with self._session.post(f"{url}/v1/chat/completions", json=body) as response:
            data = await response.read()
            if response.status != 200:
                raise Broken(f"{response.status} {data.decode()}")
            return str(orjson.loads(data)["choices"][0]["message"]["content"])

    async def stream(self, url: str, model: str, text: str = "hello") -> Streamed:
        """A streamed answer. Raises ``Broken`` unless it ends in good form."""
        async with self.open_stream(url, model, text) as (version, words):
            return Streamed(tuple([word async for word in words]), version)

    @asynccontextmanager
    async def open_stream(
        self, url: str, model: str, text: str = "hello"
    ) -> AsyncIterator[tuple[str, AsyncIterator[str]]]:
        """A streamed answer while it comes: the version that answers, and the words."""
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
        try:
            async with self._session.post(f"{url}/v1/chat/completions", json=body) as response:
                if response.status != 200:
                    raise Broken(f"{response.status} {await response.text()}")
                yield response.headers["X-Agent-Version"], _words(response)
        except aiohttp.ClientError as error:
            raise Broken(repr(error)) from None


async def _words(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    finished = done = False
    async for line in response.content:
        data = line.decode().strip().removeprefix("data: ")
        if data == "[DONE]":
            done = True
        elif data:
            chunk = orjson.loads(data)
            if "error" in chunk:
                raise Broken(data)
            for choice in chunk["choices"]:
                finished = finished or choice["finish_reason"] == "stop"
                if choice["delta"].get("content"):
                    yield choice["delta"]["content"]
    if not (finished and done):
        raise Broken("the stream was cut")
