"""Layers of manifests: rules for one on its own, and for a manifest that is merged with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from agentsd.core.manifest.agent import Attachment
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import LayeredDocument, find_borrowed_seals
from agentsd.core.manifest.pointers import get_value
from agentsd.core.names import DEFAULT_OWNER, DEFAULTS_FILE, derive_owner, is_overlay
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Violation, format_pointer
from agentsd.files.tree import SourceFile

OWN_FIELDS = ("id", "name", "default")
"""Fields that identify an agent: never shared."""


def is_defaults(path: str) -> bool:
    """Return whether a file contains the defaults of its folder."""
    return path.rpartition("/")[2] == DEFAULTS_FILE


def make_layer_attachments(files: Iterable[SourceFile]) -> tuple[Attachment, ...]:
    """Return layers as they are stored with every agent on them."""
    return tuple(Attachment(file.path, file.digest, file.data) for file in files)


def check_own_fields(document: Document) -> Iterator[Violation]:
    """Check that a folder's defaults contain nothing that only one agent can have."""
    for name in OWN_FIELDS if is_defaults(document.path) else ():
        if name in document.value:
            message = f"{name} belongs to one agent: defaults cannot set it"
            yield document.violation((name,), "layer-field", message, "move it to the manifest", key=True)


def check_merge_rules(document: Document) -> Iterator[Violation]:
    """Check that layers do nothing to the agent of ``document`` that they must not do."""
    if not isinstance(document, LayeredDocument):
        return
    pinned = document.own.value.get("id")
    for layer in document.layers:
        if layer is not document.own and layer.value.get("id", pinned) != pinned:
            message = f"an overlay cannot change the id of {document.path}"
            hint = "remove the line: the id of the base stays"
            yield layer.violation(("id",), "layer-field", message, hint, key=True)
    owner = derive_owner(document.path)
    for pointer in find_borrowed_seals(document, owner):
        lender = document.layer_of(pointer).path
        message = (
            f"{document.path} would inherit {format_pointer(pointer)}, a secret of owner {DEFAULT_OWNER!r}"
        )
        hint = (
            f"seal one for {owner!r}: in {_is_defaults_of(document.path, lender)} or in the manifest itself"
        )
        yield document.violation(pointer, "layer-secret", message, hint)


def _is_defaults_of(path: str, lender: str) -> str:
    overlay = lender.removesuffix(DEFAULTS_FILE) if is_overlay(lender) else ""
    return f"{overlay}{derive_owner(path)}/{DEFAULTS_FILE}"


def explain_violations(document: Document, violations: Sequence[Violation]) -> list[Violation]:
    """Return schema violations of a merged document, with the reason for each secret not inherited."""
    return [_explain_violation(document, violation) for violation in violations]


def _explain_violation(document: Document, violation: Violation) -> Violation:
    if violation.code != "missing-key" or not isinstance(document, LayeredDocument):
        return violation
    layers = [one for one in document.layers if isinstance(get_value(one.value, violation.pointer), dict)]
    sealed = [one for one in layers if any(map(is_sealed, get_value(one.value, violation.pointer).values()))]
    if not sealed or sealed[0] is layers[-1]:
        return violation
    hint = (
        f"a file that sets `provider` or an address inherits no secret: leave both to {sealed[0].path}, "
        "or seal a secret where they are set"
    )
    return replace(violation, hint=hint)
