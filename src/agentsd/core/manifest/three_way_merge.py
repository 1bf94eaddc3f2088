"""Three-way merge of documents, field by field. Pure.

A field that one side changed takes that side's value; one that both changed alike takes the common
value. One that both changed differently keeps ours and is reported. A section's address and its
secrets belong together: if each side changed one of them, a secret would be sent where neither side
sent it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.sections import FALLBACK
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import Pointer


@dataclass(frozen=True, slots=True)
class SealedLeaf:
    """Sealed leaf: its plaintext if a key is available, else its ciphertext. Its repr shows neither."""

    text: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class MergedDocument:
    """Merged document; at its ``conflicts`` it contains our values."""

    value: dict[str, Any] = field(repr=False)
    conflicts: tuple[Pointer, ...] = ()


class _Missing:
    """Marker of a field that a side does not have."""


MISSING: Final = _Missing()


def _find_no_destinations(kind: str, provider: str) -> None:
    """Know no vendor: addresses are recognised by their names alone."""


def merge_documents(
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    destinations: DestinationsOf = _find_no_destinations,
) -> MergedDocument:
    """Merge both sides' changes since ``base``, in the order of ours.

    Sealed leaves are ``SealedLeaf``. ``destinations`` knows the secrets and addresses of vendors.
    """
    merge = _Merge(destinations)
    value = merge.mappings(base, ours, theirs, ())
    return MergedDocument(value, tuple(dict.fromkeys(merge.conflicts)))


def is_identical(one: Any, other: Any) -> bool:
    """Return whether two values are the same, types included; the order of keys does not count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_identical(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_identical, one, other))
    if isinstance(one, SealedLeaf) and isinstance(other, SealedLeaf):
        return is_identical(one.text, other.text)
    return type(one) is type(other) and bool(one == other)


def _are_rows(*lists: Any) -> bool:
    """Return whether all are lists of equally many sections, to be merged item by item."""
    return len({len(one) if isinstance(one, list) else -1 for one in lists}) == 1 and all(
        isinstance(one, list) and all(isinstance(item, Mapping) for item in one) for one in lists
    )


class _Merge:
    """Merge under way, with its conflicts."""

    def __init__(self, destinations: DestinationsOf) -> None:
        self.conflicts: list[Pointer] = []
        self._destinations = destinations

    def mappings(
        self, base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], at: Pointer
    ) -> dict[str, Any]:
        """Return the merge of two mappings at the pointer ``at``."""
        fields = _find_trust_fields(at, (base, ours, theirs), self._destinations)
        if astray := [(*at, name) for name in _find_misdirected(base, ours, theirs, fields)]:
            self.conflicts += astray
            return dict(ours)
        merged: dict[str, Any] = {}
        for name in _merge_order([*ours], [*theirs]):
            before, one, other = (side.get(name, MISSING) for side in (base, ours, theirs))
            value = self._values(before, one, other, (*at, name))
            if value is not MISSING:
                merged[name] = value
        return merged

    def _values(self, base: Any, ours: Any, theirs: Any, at: Pointer) -> Any:
        if is_identical(ours, theirs) or is_identical(theirs, base):
            return ours
        if is_identical(ours, base):
            return theirs
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            return self.mappings(base if isinstance(base, Mapping) else {}, ours, theirs, at)
        if _are_rows(base, ours, theirs):
            sides = enumerate(zip(base, ours, theirs, strict=True))
            return [self._values(*three, (*at, index)) for index, three in sides]
        self.conflicts.append(at)
        return ours


def _merge_order(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the names of ours, each new one of theirs after the name that it follows there."""
    names = list(ours)
    for index, name in enumerate(theirs):
        if name not in names:
            before = next((one for one in reversed(theirs[:index]) if one in names), None)
            names.insert(names.index(before) + 1 if before is not None else 0, name)
    return names


@dataclass(frozen=True, slots=True)
class _TrustFields:
    """Fields of a section that contain secrets, and those that say where they go (None: by name)."""

    secrets: frozenset[str] = frozenset()
    addresses: frozenset[str] | None = None

    def is_address(self, name: str) -> bool:
        if self.addresses is not None:
            return name in self.addresses
        return name == "provider" or "url" in name or "endpoint" in name or name == "host"

    def is_secret(self, name: str, value: Any) -> bool:
        return (isinstance(value, SealedLeaf) or name in self.secrets) and not self.is_address(name)


def _find_trust_fields(
    at: Pointer, sides: Sequence[Mapping[str, Any]], destinations: DestinationsOf
) -> _TrustFields:
    """Return those of a section or fallback; of one with a vendor that is not known here, by name."""
    if not (at and at[0] in SECTIONS and (len(at) == 1 or (len(at) == 3 and at[1] == FALLBACK))):
        return _TrustFields()
    providers = {side["provider"] for side in sides if isinstance(side.get("provider"), str)}
    known = [destinations(str(at[0]), provider) for provider in providers]
    found = [one for one in known if one is not None]
    secrets = frozenset(name for one in found for name in one.secrets)
    if not found or len(found) < len(known):
        return _TrustFields(secrets)
    return _TrustFields(secrets, frozenset(name for one in found for name in ("provider", *one.urls)))


def _find_misdirected(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], fields: _TrustFields
) -> Iterator[str]:
    """Yield the secrets of a section that one side changed while the other changed their destination."""
    for side, other in ((ours, theirs), (theirs, ours)):
        moved = [name for name in _find_changed(base, side) if fields.is_address(name)]
        if moved and any(
            not is_identical(side.get(name, MISSING), other.get(name, MISSING)) for name in moved
        ):
            for name in _find_changed(base, other):
                secret = fields.is_secret(name, other.get(name))
                if secret and not is_identical(side.get(name, MISSING), other[name]):
                    yield name


def _find_changed(base: Mapping[str, Any], side: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys((*base, *side))
    return [name for name in names if not is_identical(base.get(name, MISSING), side.get(name, MISSING))]
