"""Addresses of git repositories: for git, for display and for comparison. Pure.

The forms are those of git-fetch(1), "GIT URLS": ``https://``, ``http://``, ``ssh://``, ``git://``,
``file://``, ``user@host:path`` and a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from agentsd.core.errors import ConfigError
from agentsd.core.trust.rules import format_authority

Scheme = Literal["https", "http", "ssh", "git", "file"]

_SCHEMES: dict[str, Scheme] = {
    "https": "https",
    "http": "http",
    "ssh": "ssh",
    "git+ssh": "ssh",
    "ssh+git": "ssh",
    "git": "git",
    "file": "file",
}
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_SCP = re.compile(r"(?:[^@/:]+@)?(\[[0-9A-Fa-f:.]+\]|[^@/:\[\]]+):(?!:)(.+)")
_REF = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]+")
_FORMS_HINT = "write https://host/path, ssh://git@host/path, git@host:path, or a path"


@dataclass(frozen=True, slots=True)
class Remote:
    """Remote repository. ``text`` may contain a user, who may be a token: show ``shown`` instead."""

    text: str = field(repr=False)
    scheme: Scheme
    host: str  # in lower case, with a port that is not the scheme's own; empty for a path
    path: str

    @property
    def shown(self) -> str:
        """Return the address for people, logs and the store: without user and password."""
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.host}/{self.path.lstrip('/')}"

    @property
    def identity(self) -> str:
        """Return a value that is equal for one repository's addresses, whatever protocol and user."""
        path = self.path.rstrip("/").removesuffix(".git")
        return path if self.scheme == "file" else f"{self.host.partition(':')[0]}/{path.strip('/')}"


def parse_remote(text: str) -> Remote:
    """Return the repository at ``text``. Raises ``ConfigError``, which does not quote it.

    A password in it is refused: anyone who sees the command line or the settings would see it.
    """
    if not text or not text.isprintable() or text != text.strip() or text.startswith("-"):
        raise ConfigError("this is not an address of a git repository", hint=_FORMS_HINT)
    if "://" in text:
        return _parse_url(text)
    scp = _SCP.fullmatch(text)
    if scp and "/" not in text.partition(":")[0]:
        return Remote(text, "ssh", scp[1].lower(), scp[2])
    if "::" in text:
        raise ConfigError("git's remote helpers are not used for pulling", hint=_FORMS_HINT)
    return Remote(text, "file", "", text)


def _parse_url(text: str) -> Remote:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError("this address of a git repository cannot be read", hint=_FORMS_HINT) from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.path.strip("/") or (scheme != "file" and not parts.hostname):
        raise ConfigError("this is not an address that git can fetch from", hint=_FORMS_HINT)
    _refuse_secrets(parts)
    if scheme == "file":
        return Remote(text, scheme, "", parts.path)
    return Remote(text, scheme, format_authority(parts.hostname or "", port, _PORTS[scheme]), parts.path)


def _refuse_secrets(parts: SplitResult) -> None:
    if parts.password is not None:
        raise ConfigError(
            "the git address contains a password",
            hint="remove it and give it to git's credential helper (docs/howto/pull.md), or use ssh",
        )
    if parts.query or parts.fragment:
        raise ConfigError("the git address has a query or fragment (? or #)", hint="remove it")


def check_ref(ref: str) -> str:
    """Return ``ref`` if git may get it. Raises ``ConfigError`` if it is not a valid ref name."""
    wrong = not _REF.fullmatch(ref) or ref.startswith(("-", "+", "/")) or ".." in ref or ref.endswith(".lock")
    if wrong or "@{" in ref or "//" in ref or ref.endswith(("/", ".")):
        raise ConfigError("this is not a valid git ref", hint="name a branch, a tag, or refs/…")
    return ref
