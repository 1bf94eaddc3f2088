"""Provider sections of a manifest, their fallbacks, and where their secrets go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import is_from_one_layer
from agentsd.core.trust.rules import Destinations, DestinationsOf, MisdirectedField, find_misdirected
from agentsd.core.violations import Pointer

FALLBACK = "fallback"
"""Key of a section that lists the fallbacks of its provider."""


def iter_providers(value: Mapping[str, Any]) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """Yield each section, without its fallbacks, and each fallback, with its pointer.

    ``(("llm",), {...})``, ``(("llm", "fallback", 0), {...})``. Anything that is not a section is
    skipped.
    """
    for kind in SECTIONS:
        section = value.get(kind)
        if not isinstance(section, Mapping):
            continue
        yield (kind,), {key: child for key, child in section.items() if key != FALLBACK}
        entries = section.get(FALLBACK)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                yield (kind, FALLBACK, index), dict(entry)


def find_misdirected_secrets(
    document: Document,
    value: Mapping[str, Any],
    sealed: Collection[Pointer],
    destinations: DestinationsOf,
    trusted: frozenset[str],
) -> Iterator[tuple[Pointer, MisdirectedField]]:
    """Yield each place of ``document`` that would send a secret to an origin that is not its vendor's.

    ``value``: of ``document``, opened, with ``sealed``, the pointers that are verified as sealed; or
    ``document.value`` itself while no key opens it, with those that claim to be. Fallbacks are
    included: each has secrets of its own. A secret of an unknown vendor may go nowhere.
    """
    for pointer, section in iter_providers(value):
        names = _find_sealed_fields(sealed, pointer)
        known = destinations(str(pointer[0]), str(section.get("provider"))) or _make_nowhere(section)
        bound = value is document.value or (  # still sealed, so unknown
            _is_bound(value, pointer) and is_from_one_layer(document, pointer, known.bearing(section, names))
        )
        for wrong in find_misdirected(section, names, known, trusted, bound=bound):
            yield (*pointer, wrong.field), wrong


def _make_nowhere(section: Mapping[str, Any]) -> Destinations:
    """Return the destinations of an unknown vendor: whatever it contains may be a secret."""
    return Destinations(frozenset(section), {"provider": None}, frozenset())


def _is_bound(value: Mapping[str, Any], pointer: Pointer) -> bool:
    """Return whether a seal binds the values of the section at ``pointer`` to each other.

    sops authenticates the path of a value without list indices, so a sealed value can be moved between
    the entries of a list unnoticed: an address that one entry's key was sealed with may be another's.
    """
    return len(pointer) == 1 or len(value[str(pointer[0])][FALLBACK]) == 1


def _find_sealed_fields(sealed: Collection[Pointer], pointer: Pointer) -> frozenset[str]:
    """Return the fields of the section at ``pointer`` that are, or contain, sealed values."""
    depth = len(pointer)
    names = (str(at[depth]) for at in sealed if len(at) > depth and at[:depth] == pointer)
    return frozenset(names) - {FALLBACK}
