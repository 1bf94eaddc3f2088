"""Server on sockets: bind first (a busy port is reported before anything starts), drain last.

A server that stops fails no request:

    leave     /readyz returns 503, and responses announce that their connection ends, so that
              load balancers use other servers
    close     no new connection
    drain     requests are answered, streams to their end, within the bound; a connection ends with
              a response that announces it, or when nobody has used it for a while
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from agentsd.core.errors import ConfigError
from agentsd.supervisor import SupervisedTasks, Supervisor
from agentsd.web.context import APP_CONTEXT, CLOSING, LEAVING, WEB_METRICS
from agentsd.web.server.connection_limits import ConnectionLimiter, ConnectionLimits
from agentsd.web.server.protocol import RedactingProtocol
from agentsd.web.server.tls import HANDSHAKE_TIMEOUT_SECONDS, ServerCertificate

BACKLOG = 1024
DRAIN_TIMEOUT_SECONDS = 30.0
DRAIN_IDLE_SECONDS = 3.0
"""Idle seconds after which a connection may be closed; a request at that moment is unlikely."""
CUT_TIMEOUT_SECONDS = 1.0
"""Time for requests that are cancelled after the drain to end."""
_POLL_SECONDS = 0.01


class Server:
    """Running server. ``urls`` are its addresses; ``stop`` drains it."""

    def __init__(
        self,
        runner: web.AppRunner,
        protocols: ProtocolFactory,
        keeper: ConnectionLimiter,
        listening: Sequence[asyncio.AbstractServer],
        urls: Sequence[str],
        drain: float,
        supervisor: Supervisor,
    ) -> None:
        self._runner = runner
        self._protocols = protocols
        self._listening = listening
        self._drain = drain
        self.keeper = keeper
        self._keeping = SupervisedTasks(supervisor)
        self._keeping.start("connections", keeper.run)
        self.urls = tuple(urls)

    @property
    def url(self) -> str:
        """Return the first address: ``http://127.0.0.1:8080``."""
        return self.urls[0]

    async def stop(self) -> None:
        """Stop accepting, end event streams, let running requests finish (within the bound), and close."""
        await self.leave()
        for one in self._listening:
            one.close()
        self._tell(CLOSING)
        await asyncio.sleep(0)  # accepted sockets become connections
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain):
                await self._protocols.gone()
        await self._runner.cleanup()
        await self._keeping.aclose()

    async def leave(self, grace: float = 0.0) -> None:
        """Serve for ``grace`` more seconds, and ask all clients to go elsewhere."""
        self._tell(LEAVING)
        self._protocols.leave(min(grace, DRAIN_IDLE_SECONDS))
        await asyncio.sleep(grace)

    def _tell(self, what: web.AppKey[asyncio.Event]) -> None:
        event = self._runner.app.get(what)
        if event is not None:
            event.set()


class ProtocolFactory:
    """Factory of aiohttp's protocols that keeps track of the connected ones."""

    def __init__(self, runner: web.AppRunner, bounds: ConnectionLimits) -> None:
        self._runner = runner
        self._bounds = bounds
        self._logger = _RedactingLogger(logging.getLogger("agentsd.web"))
        self._leaving = False
        self._idle = 0.0

    def __call__(self) -> RedactingProtocol:
        assert self._runner.server is not None  # noqa: S101  (set from ``setup`` to ``cleanup``)
        made = RedactingProtocol(
            self._runner.server,
            loop=asyncio.get_running_loop(),
            access_log=None,
            logger=self._logger,
            keepalive_timeout=self._bounds.idle_seconds,
            max_headers=self._bounds.head_fields,
        )
        if self._leaving:
            made.leave()
        return made

    def leave(self, idle: float) -> None:
        """Have every connection end with its next response; allow closing it after ``idle`` idle seconds."""
        self._idle = max(self._idle, idle)
        if not self._leaving:
            self._leaving = True
            for one in self._connected:
                one.leave()

    async def gone(self) -> None:
        """Close idle connections until there are none. No event announces this, so it polls."""
        now = asyncio.get_running_loop().time
        while connected := self._connected:
            for one in connected:
                if one.guard and one.transport and one.guard.rests(now()) > self._idle:
                    one.transport.close()
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def _connected(self) -> list[RedactingProtocol]:
        server = self._runner.server
        return [one for one in server.connections if isinstance(one, RedactingProtocol)] if server else []


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind listening sockets: ``localhost`` means both IPv4 and IPv6; port 0 picks one port for all.

    Raise ``ConfigError`` for a port in use, one that needs privileges, or a host that is not here.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _resolve_addresses(host, port):
            chosen = sockets[0].getsockname()[1] if sockets else port
            if one := _bind_one(family, address, chosen, optional=bool(sockets)):
                sockets.append(one)
    except OSError as error:
        for one in sockets:
            one.close()
        raise _explain_bind_error(error, host, port) from None
    return sockets


async def start_server(
    app: web.Application,
    sockets: Sequence[socket.socket],
    *,
    drain: float = DRAIN_TIMEOUT_SECONDS,
    bounds: ConnectionLimits | None = None,
    supervisor: Supervisor | None = None,
    certificate: ServerCertificate | None = None,
) -> Server:
    """Serve ``app`` on bound sockets. ``drain``: seconds for which ``stop`` waits for open streams.

    ``certificate`` is for TLS; without one the sockets speak plain HTTP.

    A client that goes away cancels its handler at once (and with it the vendor's stream): handlers that
    write shield what must not be interrupted.
    """
    bounds = bounds or ConnectionLimits()
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=min(drain, CUT_TIMEOUT_SECONDS)
    )
    await runner.setup()
    protocols = ProtocolFactory(runner, bounds)
    keeper = _make_limiter(app, protocols, bounds)
    loop = asyncio.get_running_loop()
    tls = make_tls_options(certificate)
    listening = [await loop.create_server(keeper, sock=one, backlog=BACKLOG, **tls) for one in sockets]
    urls = list_urls(sockets, secure=certificate is not None)
    return Server(runner, protocols, keeper, listening, urls, drain, supervisor or Supervisor())


def make_tls_options(certificate: ServerCertificate | None) -> dict[str, Any]:
    """Return the options of ``create_server`` for TLS; none without a certificate."""
    if certificate is None:
        return {}
    return {"ssl": certificate.context, "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_SECONDS}


def _make_limiter(
    app: web.Application, protocols: ProtocolFactory, bounds: ConnectionLimits
) -> ConnectionLimiter:
    """Make a limiter in front of aiohttp's protocols, with the app's metrics and proxies if it has them."""
    parts, metrics = app.get(APP_CONTEXT), app.get(WEB_METRICS)
    return ConnectionLimiter(
        bounds,
        protocols,
        proxies=parts.guards.proxies if parts else None,
        cut=metrics.cut if metrics else None,
    )


class _RedactingLogger(logging.LoggerAdapter[logging.Logger]):
    """Logger for aiohttp's own reports without the exception's text, which quotes the request's head."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs.pop("exc_info", None)
        return msg, kwargs

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.pop("exc_info", None)
        self.warning(msg, *args, **kwargs)


def _resolve_addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    name = host.strip("[]") or None
    infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found = dict.fromkeys((family, address) for family, _, _, _, address in infos)
    return sorted(found, key=lambda pair: pair[0] != socket.AF_INET)


def _bind_one(
    family: socket.AddressFamily, address: tuple[Any, ...], port: int, *, optional: bool
) -> socket.socket | None:
    try:
        one = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if optional:  # this machine has no IPv6
            return None
        raise
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address[0], port, *address[2:]))
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        if optional and error.errno != errno.EADDRINUSE:
            return None
        raise
    return one


def _explain_bind_error(error: OSError, host: str, port: int) -> ConfigError:
    where = f"{host or '*'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"{where} is in use by another program", hint="stop it, or choose another port with --port"
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"binding to {where} is not allowed", hint="choose a port above 1023 with --port")
    return ConfigError(f"cannot bind to {where}: no such address on this machine", hint="see --host")


def list_urls(sockets: Sequence[socket.socket], *, secure: bool = False) -> list[str]:
    """Return the URLs of these sockets: ``http://127.0.0.1:8080``."""
    return [_make_url(one, "https" if secure else "http") for one in sockets]


def _make_url(one: socket.socket, scheme: str) -> str:
    host, port = one.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if one.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
