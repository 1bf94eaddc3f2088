"""Provider sections of a manifest and their fallbacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from agentsd.core.manifest.agent import SECTIONS
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


def is_bound(value: Mapping[str, Any], pointer: Pointer) -> bool:
    """Return whether a seal binds the values of the section at ``pointer`` to each other.

    sops authenticates the path of a value without list indices, so a sealed value can be moved between
    the entries of a list unnoticed: an address that one entry's key was sealed with may be another's.
    """
    return len(pointer) == 1 or len(value[str(pointer[0])][FALLBACK]) == 1


def find_sealed_fields(sealed: Collection[Pointer], pointer: Pointer) -> frozenset[str]:
    """Return the fields of the section at ``pointer`` that are, or contain, sealed values."""
    depth = len(pointer)
    names = (str(at[depth]) for at in sealed if len(at) > depth and at[:depth] == pointer)
    return frozenset(names) - {FALLBACK}
