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


def merge_documents(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> MergedDocument:
    """Merge both sides' changes since ``base``, in the order of ours.

    Sealed leaves are ``SealedLeaf``.
    """
    conflicts: list[Pointer] = []
    value = _merge_mappings(base, ours, theirs, (), conflicts)
    return MergedDocument(value, tuple(dict.fromkeys(conflicts)))


def is_identical(one: Any, other: Any) -> bool:
    """Return whether two values are the same, types included; the order of keys does not count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_identical(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_identical, one, other))
    if isinstance(one, SealedLeaf) and isinstance(other, SealedLeaf):
        return is_identical(one.text, other.text)
    return type(one) is type(other) and bool(one == other)


def _merge_values(base: Any, ours: Any, theirs: Any, at: Pointer, conflicts: list[Pointer]) -> Any:
    if is_identical(ours, theirs) or is_identical(theirs, base):
        return ours
    if is_identical(ours, base):
        return theirs
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return _merge_mappings(base if isinstance(base, Mapping) else {}, ours, theirs, at, conflicts)
    if _are_rows(base, ours, theirs):
        sides = enumerate(zip(base, ours, theirs, strict=True))
        return [_merge_values(*three, (*at, index), conflicts) for index, three in sides]
    conflicts.append(at)
    return ours


def _are_rows(*lists: Any) -> bool:
    """Return whether all are lists of equally many sections, to be merged item by item."""
    return len({len(one) if isinstance(one, list) else -1 for one in lists}) == 1 and all(
        isinstance(one, list) and all(isinstance(item, Mapping) for item in one) for one in lists
    )


def _merge_mappings(
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    at: Pointer,
    conflicts: list[Pointer],
) -> dict[str, Any]:
    if astray := [(*at, name) for name in _find_misdirected(base, ours, theirs)]:
        conflicts += astray
        return dict(ours)
    merged: dict[str, Any] = {}
    for name in _merge_order([*ours], [*theirs]):
        before, one, other = (side.get(name, MISSING) for side in (base, ours, theirs))
        value = _merge_values(before, one, other, (*at, name), conflicts)
        if value is not MISSING:
            merged[name] = value
    return merged


def _merge_order(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the names of ours, each new one of theirs after the name that it follows there."""
    names = list(ours)
    for index, name in enumerate(theirs):
        if name not in names:
            before = next((one for one in reversed(theirs[:index]) if one in names), None)
            names.insert(names.index(before) + 1 if before is not None else 0, name)
    return names


def _find_misdirected(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the secrets of a section that one side changed while the other changed their destination."""
    for side, other in ((ours, theirs), (theirs, ours)):
        moved = [name for name in _find_changed(base, side) if _is_address(name)]
        if moved and any(
            not is_identical(side.get(name, MISSING), other.get(name, MISSING)) for name in moved
        ):
            for name in _find_changed(base, other):
                secret = isinstance(other.get(name), SealedLeaf) and not _is_address(name)
                if secret and not is_identical(side.get(name, MISSING), other[name]):
                    yield name


def _find_changed(base: Mapping[str, Any], side: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys((*base, *side))
    return [name for name in names if not is_identical(base.get(name, MISSING), side.get(name, MISSING))]


def _is_address(name: str) -> bool:
    return name == "provider" or "url" in name or "endpoint" in name or name == "host"
