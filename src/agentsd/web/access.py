"""Who may talk to this server: bearer tokens, host names and origins.

Without tokens the server is open, but only on a loopback address and only to requests that name
it by a loopback or configured host: a page whose DNS name was rebound to 127.0.0.1 names another.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from agentsd.core.errors import ConfigError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
TOKEN_MIN = 16
_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_WITH_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The bearer tokens that are accepted, as SHA-256 digests; false when there is none."""

    digests: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.digests)

    def accepts(self, authorization: str | None) -> bool:
        """Whether the header's value is ``Bearer`` and a known token; every token is compared."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        digest = sha256(token.strip().encode("utf-8", "replace")).digest()
        found = False
        for known in self.digests:
            found |= hmac.compare_digest(known, digest)
        return found


@dataclass(frozen=True, slots=True)
class Access:
    """The rules for requests. ``hosts``: further names, each with or without a port."""

    tokens: Tokens = Tokens()
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in self.hosts))

    def host_allowed(self, host: str | None) -> bool:
        """Whether a ``Host`` header names this server."""
        if self.tokens.digests and not self.hosts:
            return True  # a token proves more than a name
        if not host:
            return False
        host = host.lower()
        name = bare_host(host)
        return name in LOOPBACK_NAMES or name in self.hosts or host in self.hosts or is_loopback(name)

    def origin_allowed(self, origin: str | None, host: str | None) -> bool:
        """Whether a request that changes something comes from this server's own pages, or from no page."""
        if origin is None:
            return True
        try:
            netloc = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(netloc) and (netloc == (host or "").lower() or netloc in self.hosts)


def bare_host(host: str) -> str:
    """``localhost:8080`` → ``localhost``; ``[::1]:8080`` → ``[::1]``; nonsense → an empty string."""
    match = _WITH_PORT.fullmatch(host)
    return match[1] if match else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(host: str, tokens: Tokens) -> None:
    """Refuse to be open to a network. Raises ``ConfigError``."""
    if not tokens and not is_loopback(host):
        raise ConfigError(
            f"binding to {host or 'every address'} would let anyone on the network talk to the agents",
            hint="put bearer tokens into a file, one a line, and name it in AGENTSD_TOKEN_FILE; "
            "or bind to 127.0.0.1",
        )


def load_tokens(path: Path | None) -> Tokens:
    """The tokens of a file: one a line, plain or ``sha256:HEX``; ``#`` starts a comment line.

    None is no file: no tokens. Raises ``ConfigError`` for a file that cannot be read, holds no
    token, or holds one that is too short or has blanks in it.
    """
    if path is None:
        return Tokens()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"the token file {path} cannot be read: {why}", hint="see AGENTSD_TOKEN_FILE"
        ) from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    digests = tuple(
        _digest(path, number, line) for number, line in lines if line and not line.startswith("#")
    )
    if not digests:
        raise ConfigError(
            f"the token file {path} holds no token",
            hint="add one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return Tokens(tuple(dict.fromkeys(digests)))


def _digest(path: Path, number: int, line: str) -> bytes:
    if hashed := _HASHED.fullmatch(line):
        return bytes.fromhex(hashed[1])
    if line.startswith("sha256:") or len(line) < TOKEN_MIN or not _TOKEN.fullmatch(line):
        raise ConfigError(
            f"{path}:{number}: this line is no usable token",
            hint=f"{TOKEN_MIN} or more printable ASCII characters, no blanks; or sha256: and 64 hex digits",
        )
    return sha256(line.encode()).digest()
