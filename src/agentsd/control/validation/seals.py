"""Form of a document's seals: where values are sealed, and where they must not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentsd.core.manifest.document import Document
from agentsd.core.manifest.sections import iter_providers
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer, Violation, format_pointer
from agentsd.sops.opener import OpenedDocument


def find_claimed_fields(value: Mapping[str, Any]) -> frozenset[Pointer]:
    """Return the fields of provider sections that claim to be sealed."""
    return frozenset(
        (*pointer, name)
        for pointer, section in iter_providers(value)
        for name in section
        if is_sealed(section[name])
    )


def check_seal_form(document: Document) -> Iterator[Violation]:
    """Check that a document with sealed values has a ``sops`` block."""
    if "sops" in document.value:
        return
    for pointer in find_sealed_pointers(document.value):
        hint = "restore the block from git, or seal the file anew: agentsd seal FILE"
        yield document.violation(
            pointer, "seal-missing", "a sealed value, but the file has no sops block", hint
        )


def uncovered_seals(document: Document, opened: OpenedDocument) -> Iterator[Violation]:
    """Yield values that look sealed although the file's own rule does not seal them."""
    for pointer in opened.strays():
        message = f"{format_pointer(pointer)}: this looks sealed, but the file's seal does not cover it"
        hint = "name the field in encrypted_regex of .sops.yaml, and seal it anew: agentsd edit FILE"
        yield document.violation(pointer, "seal-stray", message, hint)


def find_sealed_pointers(value: Any, pointer: Pointer = ()) -> Iterator[Pointer]:
    """Yield the places of ``ENC[…]`` strings."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from find_sealed_pointers(child, (*pointer, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from find_sealed_pointers(child, (*pointer, index))
    elif is_sealed(value):
        yield pointer
