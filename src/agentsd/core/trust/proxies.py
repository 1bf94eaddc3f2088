"""Forward proxies of the operator: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``. Pure.

The rules are curl's, and so git's (https://curl.se/docs/manpage.html#ENVIRONMENT): a lower-case name wins
over its upper-case one; an entry of ``NO_PROXY`` is ``*``, an address, a network or a name, which stands for
what is below it, too. Two additions: an entry may end with a port, and this machine's own addresses are
never asked of a proxy, since there they would be the proxy's own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

from agentsd.core.errors import ConfigError
from agentsd.core.trust.rules import format_authority

PROXY_PORTS = {"http": 80, "https": 443}
"""Schemes of a proxy, and their default ports."""
_TARGET_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_FORMS_HINT = "write http://proxy.example.org:3128 or https://…, with user:password@ where it asks for them"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Forward proxy: its address without user-info, and what authenticates there."""

    url: str  # "http://proxy.example.org:3128"
    authorization: str | None = field(default=None, repr=False)  # of ``Proxy-Authorization``
    variable: str = ""  # that names it; empty: a section of a manifest does

    @property
    def host(self) -> str:
        """Return the host, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def shown(self) -> str:
        """Return the proxy for people: by what names it, since its address is the operator's."""
        return f"the proxy of {self.variable}" if self.variable else "the proxy of its section"


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """Which proxy a connection takes."""

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[_Exception, ...] = ()

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> ProxyRules:
        """Read the variables. Raises ``ConfigError`` with the name of a wrong one, never its value."""
        http, https = _read_proxy(environ, "http_proxy"), _read_proxy(environ, "https_proxy")
        rest = (
            None if http and https else _read_proxy(environ, "all_proxy")
        )  # often SOCKS, for other programs
        _, exceptions = _read_variable(environ, "no_proxy")
        entries = tuple(map(_parse_exception, re.split(r"[\s,]+", exceptions))) if exceptions else ()
        return cls(http or rest, https or rest, entries)

    def choose(self, url: str) -> Proxy | None:
        """Return the proxy for ``url``, an absolute one; None: it is connected to directly."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme in ("https", "wss") else self.http
        host = (parts.hostname or "").rstrip(".")
        if proxy is None or is_own_machine(host):
            return None
        port = parts.port or _TARGET_PORTS.get(parts.scheme)
        return None if any(one.matches(host, port) for one in self.exceptions) else proxy


def is_own_machine(host: str) -> bool:
    """Return whether ``host`` is this machine by its name or address: for a proxy it would be the proxy."""
    address = _parse_address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class _Exception:
    """Entry of ``NO_PROXY``."""

    name: str  # "*", a name or the text of a network
    port: int | None

    def matches(self, host: str, port: int | None) -> bool:
        """Return whether the entry stands for ``host`` at ``port``."""
        if self.port not in (None, port):
            return False
        address = _parse_address(host)
        if self.name == "*":
            return True
        if address is None:
            return host == self.name or host.endswith(f".{self.name}")
        try:
            return address in ip_network(self.name, strict=False)
        except ValueError:
            return False


_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>\d{1,5})")


def _parse_exception(text: str) -> _Exception:
    """Return one entry; what is neither an address nor a name never matches, as with curl."""
    found = _PORT.fullmatch(text)
    host, port = (found["host"], int(found["port"])) if found else (text, None)
    name = host.strip("[]").lower().rstrip(".")
    return _Exception(name if name == "*" else name.removeprefix("*").lstrip(".") or "\0", port)


def _read_variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable that counts, and its value."""
    used = name if name in environ else name.upper()
    return used, environ.get(used, "").strip()


def _read_proxy(environ: Mapping[str, str], name: str) -> Proxy | None:
    variable, text = _read_variable(environ, name)
    return parse_proxy(text, variable) if text else None


def parse_proxy(text: str, variable: str = "") -> Proxy:
    """Return the proxy of a URL, or of ``host:port``. Raises ``ConfigError``, which does not quote it."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port if "@" not in parts.path + parts.query + parts.fragment else None
    except ValueError:
        raise ConfigError(f"{variable} is not a proxy's address", hint=_FORMS_HINT) from None
    if parts.scheme.startswith("socks"):
        raise ConfigError(f"{variable}: SOCKS proxies are not supported", hint=_FORMS_HINT)
    if "@" in parts.path + parts.query + parts.fragment:  # the host would be the user's name
        hint = "write / # ? @ of a user or password as %2F %23 %3F %40"
        raise ConfigError(f"{variable} is not a proxy's address", hint=hint)
    if parts.scheme not in PROXY_PORTS or not parts.hostname or not text.isprintable() or port == 0:
        raise ConfigError(f"{variable} is not a proxy's address", hint=_FORMS_HINT)
    authority = format_authority(parts.hostname, port, PROXY_PORTS[parts.scheme])
    return Proxy(f"{parts.scheme}://{authority}", _make_authorization(parts), variable)


def _make_authorization(parts: SplitResult) -> str | None:
    """Return user and password as ``Basic`` (RFC 7617)."""
    if parts.username is None:
        return None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
