"""Differences between two documents, field by field. Pure; seals are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentsd.core.masker import Masker
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer

FieldOperation = Literal["add", "change", "remove"]
SecretChange = Literal["changed", "resealed"]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """Field that differs. ``old`` and ``new`` are None if a seal is involved."""

    operation: FieldOperation
    pointer: Pointer
    old: Any = None
    new: Any = None
    secret: SecretChange | None = None  # "resealed": new ciphertext; same value, or no key to compare with


Fingerprints = Mapping[Pointer, bytes] | None


def diff_documents(
    old: Any,
    new: Any,
    old_prints: Fingerprints = None,
    new_prints: Fingerprints = None,
    *,
    masker: Masker = Masker(),  # noqa: B008  (frozen)
) -> tuple[FieldChange, ...]:
    """Compare field by field, in the new document's order, then removals.

    Seals are never shown, nor plain values of what ``masker`` knows as secret fields.
    """
    if old is None or new is None:
        return ()
    before, after = dict(_iter_leaves(old)), dict(_iter_leaves(new))
    changes = [
        FieldChange("change" if pointer in before else "add", pointer, before.get(pointer), value)
        for pointer, value in after.items()
        if pointer not in before or not _is_same(before[pointer], value)
    ]
    changes += [
        FieldChange("remove", pointer, value) for pointer, value in before.items() if pointer not in after
    ]
    return tuple(_mask_change(_mask_seals(change, old_prints, new_prints), masker) for change in changes)


def _iter_leaves(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Yield scalars and lists by pointer; mappings are walked, ``sops`` is left out."""
    if not isinstance(value, Mapping):
        yield pointer, value
        return
    for key, child in value.items():
        if pointer or key != "sops":
            yield from _iter_leaves(child, (*pointer, key))


def _is_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new)


def _mask_change(change: FieldChange, masker: Masker) -> FieldChange:
    if change.secret is not None:
        return change
    old, new = (masker.mask_at(change.pointer, value) for value in (change.old, change.new))
    return replace(change, old=old, new=new)


def _mask_seals(change: FieldChange, old_prints: Fingerprints, new_prints: Fingerprints) -> FieldChange:
    if not (is_sealed(change.old) or is_sealed(change.new)):
        return change
    if change.operation != "change":
        return replace(change, old=None, new=None, secret="changed")  # noqa: S106
    old = (old_prints or {}).get(change.pointer)
    new = (new_prints or {}).get(change.pointer)
    told_apart = old is not None and new is not None and old != new
    newly = is_sealed(change.old) != is_sealed(change.new)
    return FieldChange("change", change.pointer, secret="changed" if told_apart or newly else "resealed")
