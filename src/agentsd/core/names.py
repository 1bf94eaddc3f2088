"""Slugs, owners and ids, derived from a manifest's path.

agents.d/support.yaml     slug "support"      owner "default"
agents.d/acme/sales.yaml  slug "acme/sales"   owner "acme"
"""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID, uuid5

DEFAULT_OWNER = "default"
SUFFIXES = (".yaml", ".yml")
USER_FILE = "_user.yaml"
DEFAULTS_FILE = "_defaults.yaml"
LOCK_SUFFIX = ".lock.yaml"
"""Ending of a file that pins the tools of MCP servers; its name starts with ``_``."""
OVERLAYS_PREFIX = "../envs/"
"""Where overlays are, seen from the folder of manifests: ``../envs/prod/acme/sales.yaml``."""
ENVIRONMENT_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Pattern of an overlay's name."""
RESERVED_SLUGS = frozenset({"current"})
SLUG_MAX = 200
WORD_MAX = 64
"""Characters of a client's word that an error repeats."""

_NAMESPACE = UUID(
    "6f1d6c1e-5a0a-5c39-9c0e-2b6a6d1f7a11"
)  # agentsd's own; never change it: ids derive from it
_SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_OVERLAY = re.compile(rf"\.\./envs/{ENVIRONMENT_PATTERN}/")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_overlay(path: str) -> bool:
    """Return whether a file belongs to an overlay, and not to the folder of manifests."""
    return path.startswith(OVERLAYS_PREFIX) and _OVERLAY.match(path) is not None


def strip_overlay(path: str) -> str:
    """Return a file's path within its own tree: ``../envs/prod/acme/sales.yaml`` → ``acme/sales.yaml``."""
    found = _OVERLAY.match(path) if path.startswith(OVERLAYS_PREFIX) else None
    return path[found.end() :] if found else path


def is_lock_name(path: str) -> bool:
    """Return whether ``path`` is that of a file that pins tools: ``acme/_tools.lock.yaml``."""
    return path.endswith(LOCK_SUFFIX) and path.rpartition("/")[2].startswith("_")


def derive_slug(path: str) -> str:
    """Return the slug: ``acme/sales.yaml`` → ``acme/sales``. ``path`` is relative, with ``/``."""
    path = strip_overlay(path)
    for suffix in SUFFIXES:
        if path.endswith(suffix):
            return path[: -len(suffix)]
    return path


def derive_owner(path: str) -> str:
    """Return the first folder of ``path``, or ``default`` at the top."""
    first, slash, _ = strip_overlay(path).partition("/")
    return first if slash else DEFAULT_OWNER


def derive_place_owner(place: str) -> str:
    """Return the owner of a real path within the tree, after its links were followed.

    Hidden folders at the top have no owner: a ConfigMap mounts ``acme/`` as ``..2026_11_30/acme/``.
    """
    parts = place.split("/")
    while len(parts) > 1 and parts[0].startswith("."):
        parts.pop(0)
    return derive_owner("/".join(parts))


def derive_agent_id(slug: str) -> UUID:
    """Return the id of a manifest that pins none: uuid5 of its slug, so a rename is a new agent."""
    return uuid5(_NAMESPACE, slug)


def derive_user_id(username: str) -> UUID:
    """Return the id of an owner's row: uuid5 of the name, equal in a rebuilt database."""
    return uuid5(_NAMESPACE, f"user:{username}")


def find_slug_problem(slug: str) -> str | None:
    """Return what is wrong with ``slug``, or None."""
    if slug in RESERVED_SLUGS or is_uuid(slug):
        return f"the name {slug!r} is reserved"
    if len(slug) > SLUG_MAX:
        return f"the path is longer than {SLUG_MAX} characters"
    if not all(_SEGMENT.fullmatch(part) for part in slug.split("/")):
        return "a name may contain ASCII letters, digits, '.', '_' and '-', and starts with a letter or digit"
    return None


def suggest_slug(slug: str) -> str:
    """Return the nearest slug that is allowed: ``Über uns`` → ``uber-uns``."""
    ascii_only = unicodedata.normalize("NFKD", slug).encode("ascii", "ignore").decode()
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-._") for part in ascii_only.split("/")]
    return "/".join(part for part in parts if part) or "agent"


def escape_unprintable(text: str) -> str:
    """Return ``text`` with escapes for what could upset a terminal, a log or a database.

    These are control characters, line breaks, direction marks, and the surrogates of bytes that are not
    UTF-8.
    """
    if text.isprintable():
        return text
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)


def is_uuid(text: str) -> bool:
    """Return whether ``text`` has the form of a UUID."""
    return _UUID.fullmatch(text) is not None


def slug_to_url(slug: str) -> str:
    """Return a slug as one path segment: ``acme/sales`` → ``acme~sales``."""
    return slug.replace("/", "~")


def slug_from_url(segment: str) -> str:
    """Return the slug of a path segment: ``acme~sales`` → ``acme/sales``."""
    return segment.replace("~", "/")


def quote_word(word: object, otherwise: str) -> str:
    """Return a client's word if an error may repeat it: a short identifier. Else ``otherwise``."""
    quotable = isinstance(word, str) and word.isascii() and word.isidentifier() and len(word) <= WORD_MAX
    return str(word) if quotable else otherwise
