"""Access to this server: bearer tokens, host names and origins.

As soon as one token is known, every request needs one. Without any the server is open, but only on
a loopback address and only to requests with a loopback or configured host name: a page whose DNS
name was rebound to 127.0.0.1 sends another one. Without any on other addresses every request is
refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from agentsd.core.access import Principal
from agentsd.core.errors import ConfigError
from agentsd.runtime.follower.token_index import TokenIndex

PRINCIPAL = web.RequestKey("principal", Principal)
"""Principal of a request; the middleware sets it for every request that it admits."""

SESSION_COOKIE = "agentsd_session"
"""The cookie in which a browser keeps the token that its user signed in with; no script can read it."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
TOKEN_LENGTH_MIN = 16
_HASHED_TOKEN = re.compile(r"sha256:([0-9a-fA-F]{64})")
_PLAIN_TOKEN = re.compile(r"[\x21-\x7e]+")
_HOST_WITH_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class FileTokens:
    """Tokens of a file, as SHA-256 digests; falsy when there is none."""

    digests: tuple[bytes, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Access rules for requests.

    ``hosts``: further names, each with or without a port. ``loopback``: only this machine reaches the
    server. ``book``: all tokens, those of the file and, once the follower loaded them, of the users.
    """

    tokens: FileTokens = FileTokens()
    hosts: frozenset[str] = frozenset()
    loopback: bool = True
    origins: frozenset[str] = frozenset()  # origins of pages elsewhere that have their visitors' rights
    book: TokenIndex = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in self.hosts))
        object.__setattr__(self, "book", TokenIndex(self.tokens.digests))

    @property
    def guarded(self) -> bool:
        """Return whether a token is needed."""
        return bool(self.book) or not self.loopback

    def host_allowed(self, host: str | None) -> bool:
        """Return whether a ``Host`` header names this server."""
        if self.guarded and not self.hosts:
            return True  # a token is a stronger proof than a host name
        if not host:
            return False
        host = host.lower()
        name = strip_port(host)
        return name in LOOPBACK_NAMES or name in self.hosts or host in self.hosts or is_loopback(name)

    def origin_allowed(self, origin: str | None, host: str | None, *, cookie: bool = False) -> bool:
        """Return whether a modifying request comes from this server's own pages, or from no page.

        ``cookie``: a browser added the credential, whichever page sent the request; only our own pages may.
        """
        if origin is None:
            return not cookie
        try:
            netloc = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        own = netloc == (host or "").lower() or netloc in self.hosts
        return bool(netloc) and (own or (not cookie and origin.lower() in self.origins))


def strip_port(host: str) -> str:
    """Strip the port: ``localhost:8080`` → ``localhost``; ``[::1]:8080`` → ``[::1]``; invalid → empty."""
    match = _HOST_WITH_PORT.fullmatch(host)
    return match[1] if match else ""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that is bound to ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_bearer(authorization: str | None) -> str | None:
    """Return the token of ``Bearer TOKEN``; None if the header is missing or of another scheme."""
    scheme, _, token = (authorization or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def check_bind(hosts: Iterable[str], known: bool) -> None:
    """Refuse a server that is reachable for others but has no token. Raise ``ConfigError``.

    ``known``: whether there is any token.
    """
    others = [host for host in hosts if not is_loopback(host)]
    if others and not known:
        raise ConfigError(
            f"binding to {others[0] or 'every address'} needs a token: without any, all requests are refused",
            hint="run: agentsd token create (and sync); or put bearer tokens into a file, one a line, and "
            "name it in AGENTSD_TOKEN_FILE; or bind to 127.0.0.1",
        )


def load_tokens(path: Path | None) -> FileTokens:
    """Load the tokens of a file: one a line, plain or ``sha256:HEX``; ``#`` starts a comment line.

    None means no file and no tokens. Raise ``ConfigError`` for a file that cannot be read, contains no
    token, or contains one that is too short or has blanks in it.
    """
    if path is None:
        return FileTokens()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"the token file {path} cannot be read: {why}", hint="see AGENTSD_TOKEN_FILE"
        ) from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    digests = tuple(
        _parse_token_digest(path, number, line) for number, line in lines if line and not line.startswith("#")
    )
    if not digests:
        raise ConfigError(
            f"the token file {path} contains no token",
            hint="add one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return FileTokens(tuple(dict.fromkeys(digests)))


def _parse_token_digest(path: Path, number: int, line: str) -> bytes:
    if hashed := _HASHED_TOKEN.fullmatch(line):
        return bytes.fromhex(hashed[1])
    if line.startswith("sha256:") or len(line) < TOKEN_LENGTH_MIN or not _PLAIN_TOKEN.fullmatch(line):
        raise ConfigError(
            f"{path}:{number}: this line is not a usable token",
            hint=f"{TOKEN_LENGTH_MIN} or more printable ASCII characters, no blanks; or sha256: and "
            "64 hex digits",
        )
    return sha256(line.encode()).digest()
