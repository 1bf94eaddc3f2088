"""Trust rules that a schema cannot express. A rule inspects values; the caller decides what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


NO_ORIGIN = "an impossible address"
"""Origin of a value that is not a URL; never trusted."""


@lru_cache(maxsize=64)  # few and small: a manifest's URL may be long
def normalise_origin(url: str) -> str:
    """Return scheme, host and port, normalised.

    ``https://Api.Groq.com:443/x`` → ``https://api.groq.com``; ``NO_ORIGIN`` for a URL without a host or
    with an invalid port.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return NO_ORIGIN
    if not (parts.scheme and parts.hostname):
        return NO_ORIGIN
    return f"{parts.scheme}://{format_authority(parts.hostname, port, _DEFAULT_PORTS.get(parts.scheme))}"


def format_authority(host: str, port: int | None, default_port: int | None) -> str:
    """Return host and port as in a URL: IPv6 in brackets, no default port."""
    shown = "" if port in (None, default_port) else f":{port}"
    return f"[{host}]{shown}".lower() if ":" in host else f"{host}{shown}".lower()


def is_http_url(text: str) -> bool:
    """Return whether ``text`` is the URL of an HTTP server, written without blanks."""
    try:
        parts = urlsplit(text)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fit and text.isprintable() and " " not in text


@dataclass(frozen=True, slots=True)
class Destinations:
    """Allowed destinations of the secrets of one vendor's section."""

    secrets: frozenset[str]  # names of secret fields
    urls: Mapping[str, str | None]  # destination fields and their defaults
    home: frozenset[str]  # origins of the vendor itself

    def bearing(self, section: Mapping[str, Any], sealed: frozenset[str]) -> frozenset[str]:
        """Return the fields that must come from one document.

        Only then does its seal vouch for where the secrets go.
        """
        return (self.secrets & section.keys()) | sealed


SEALED_ADDRESS = "an address that is sealed"

DestinationsOf = Callable[[str, str], Destinations | None]
"""(section, provider) → where its secrets may go; None for an unknown provider."""


@dataclass(frozen=True, slots=True)
class MisdirectedField:
    """Destination field that would send a secret where it does not belong."""

    field: str
    origin: str  # ``SEALED_ADDRESS`` where it is sealed: messages quote it

    @property
    def remedy(self) -> str:
        """Return the hint for the user."""
        if self.origin == SEALED_ADDRESS:
            return "seal the address in the secret's file, or add its origin to AGENTSD_TRUSTED_ORIGINS"
        return f"seal the URL too, or add {self.origin} to AGENTSD_TRUSTED_ORIGINS"


def find_misdirected(
    section: Mapping[str, Any],
    sealed: frozenset[str],
    destinations: Destinations,
    trusted: frozenset[str],
    *,
    bound: bool = True,
) -> tuple[MisdirectedField, ...]:
    """Return the destination fields of ``section`` that its secrets must not be sent to.

    ``sealed`` names the section's fields that are sealed in the document. A sealed URL was
    chosen by someone who holds a key, so it is trusted; a plain one must be the vendor's own
    or one of ``trusted`` (origins, as ``normalise_origin`` returns them). Works on sealed and on opened
    sections alike; if the seal does not bind an opened section together (``bound``), a sealed
    URL is trusted no more than a plain one.
    """
    holds_secret = bool(destinations.secrets & section.keys()) or bool(sealed - destinations.urls.keys())
    if not holds_secret:
        return ()
    allowed = (destinations.home | trusted) - {NO_ORIGIN}
    places = {
        name: str(section.get(name) or default or "")
        for name, default in destinations.urls.items()
        if name not in sealed or not bound
    }
    origins = {name: normalise_origin(url) for name, url in places.items() if url}
    return tuple(
        MisdirectedField(name, SEALED_ADDRESS if name in sealed else place)
        for name, place in origins.items()
        if place not in allowed
    )
