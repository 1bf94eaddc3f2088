"""Files of the pages: read once from the package, kept with their headers.

Their URL contains a digest of them all (their *edition*), so a browser caches them forever, and a
page never mixes two editions. An open page of an older edition gets the current files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from gzip import compress
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "wav": "audio/wav",
}
"""Content type by suffix; files with other suffixes are not served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """File of the pages. ``packed`` is its gzip; None where that would save nothing."""

    data: bytes
    kind: str
    packed: bytes | None


@dataclass(frozen=True, slots=True)
class Assets:
    """Files by name (``js/shell.js``), and their edition."""

    named: Mapping[str, Asset]
    edition: str


@cache
def load_assets() -> Assets:
    """Return the files of this program."""
    found = dict(sorted(_find_assets(files("agentsd.web.ui").joinpath("static"), "")))
    digest = sha256()
    for name, one in found.items():
        digest.update(name.encode() + b"\0" + one.data)
    return Assets(found, digest.hexdigest()[:16])


def _find_assets(folder: Traversable, above: str) -> Iterator[tuple[str, Asset]]:
    for one in folder.iterdir():
        name = f"{above}{one.name}"
        if one.is_dir():
            yield from _find_assets(one, f"{name}/")
        elif (kind := CONTENT_TYPES.get(name.rpartition(".")[2])) is not None:
            data = one.read_bytes()
            packed = None if kind == CONTENT_TYPES["wav"] else compress(data, mtime=0)
            yield name, Asset(data, kind, packed)
