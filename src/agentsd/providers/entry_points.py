"""Providers of other packages: entry points of the group ``agentsd.providers``.

    [project.entry-points."agentsd.providers"]
    "tts.beep.example" = "beeper.tts:VENDOR"

The entry point's name is the kind and the vendor's name, its object is a ``Vendor``. A broken package
is reported, and affects only the agents that use it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.vendor import Vendor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "agentsd.providers"
_GROUP_MARK = f"[{GROUP}]".encode()
_METADATA = (".dist-info", ".egg-info")


@dataclass(frozen=True, slots=True)
class InstalledProviders:
    """Catalog of this environment, and the errors of the packages that it leaves out."""

    catalog: Catalog
    problems: tuple[ConfigError, ...] = ()


def load_installed_providers(paths: Sequence[str] | None = None) -> InstalledProviders:
    """Load the built-in vendors, and those of every package on ``paths`` (``sys.path`` where None)."""
    catalog = default_catalog()
    folders = sys.path if paths is None else paths
    if not any(_may_bring(folder) for folder in folders):
        return InstalledProviders(catalog)
    problems = []
    for point in _iterate_entry_points(folders):
        try:
            catalog = _add_vendor(catalog, point)
        except ConfigError as error:
            problems.append(error)
        except Exception as error:  # raised by broken metadata
            problems.append(_make_broken_error(point, f"it cannot be read: {type(error).__name__}"))
    return InstalledProviders(catalog, tuple(problems))


def _may_bring(folder: str) -> bool:
    """Return whether a package in ``folder`` may use the group.

    For ninety packages this check takes 1 ms, and is nearly always False; asking ``importlib.metadata``
    takes 4 to 20 ms. A path that is not a folder (a zip file) is left to it.
    """
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.path for entry in entries if entry.name.endswith(_METADATA)]
    except NotADirectoryError:
        return True
    except OSError:
        return False
    return any(_GROUP_MARK in _read_bytes(f"{name}/entry_points.txt") for name in names)


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - hot path
            return file.read()
    except OSError:
        return b""


def _iterate_entry_points(folders: Sequence[str]) -> Iterator[EntryPoint]:
    """Yield every entry point of the group, in the order of packages' names, each package once."""
    from importlib.metadata import distributions

    found: dict[str, Any] = {}
    for distribution in distributions(path=list(folders)):
        found.setdefault(distribution.name, distribution)
    for name in sorted(found):
        yield from found[name].entry_points.select(group=GROUP)


def _add_vendor(catalog: Catalog, point: EntryPoint) -> Catalog:
    """Return ``catalog`` with the vendor of ``point``. Raises ``ConfigError``."""
    kind, _, name = point.name.partition(".")
    if kind not in SECTIONS or not name:
        raise _make_broken_error(
            point, f"its name does not begin with one of {', '.join(f'{s}.' for s in SECTIONS)}"
        )
    if name in catalog.of(kind):
        raise _make_broken_error(point, "a provider of this name already exists")
    vendor = _load_vendor(point)
    if not (isinstance(vendor, Vendor) and _is_settings(vendor.settings)):
        raise _make_broken_error(point, f"{point.value} is not a Vendor with a subclass of ProviderSettings")
    problem = _find_misfit(vendor.settings, kind, name)
    if problem:
        raise _make_broken_error(point, problem)
    return replace(catalog, **{kind: {**catalog.of(kind), name: vendor}})


def _load_vendor(point: EntryPoint) -> object:
    try:
        return point.load()
    except ImportError as error:
        raise _make_broken_error(
            point, f"importing it fails: {error.name or 'a module'} is missing"
        ) from None
    except (Exception, SystemExit) as error:  # a foreign module may raise anything on import
        raise _make_broken_error(point, f"importing it fails: {type(error).__name__}") from None


def _is_settings(settings: object) -> bool:
    return isinstance(settings, type) and issubclass(settings, ProviderSettings)


def _find_misfit(settings: type[ProviderSettings], kind: str, name: str) -> str | None:
    """Return why a settings class is unsuitable; None if it is suitable.

    Its texts end up in the schema.
    """
    try:
        told = settings.provider_name()
        schema = settings.model_json_schema()
    except Exception as error:  # pydantic refuses in many ways
        return f"its settings do not produce a schema: {type(error).__name__}"
    if told != name:
        return f'its settings have provider: Literal["{told}"]'
    bare = [field for field, text in schema["properties"].items() if not text.get("description")]
    undescribed = [field for field in bare if field != "provider"]
    if undescribed:
        return f"its fields have no description: {', '.join(undescribed)}"
    wrong = getattr(settings, "kind", kind)
    return f"its settings have kind {wrong!r}" if wrong != kind else None


def _make_broken_error(point: EntryPoint, why: str) -> ConfigError:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    message = f"the provider {point.name!r} of {package} is left out: {why}"
    return ConfigError(
        message, hint="upgrade or remove that package; docs/providers.md describes how to write one"
    )
