"""Edits of a sealed manifest by hand: its text with plain values, and back.

What the edit does not touch keeps its bytes: comments, blank lines, quotes, and the ciphertexts of
secrets that did not change.
"""

from __future__ import annotations

from pathlib import Path

from agentsd.control.sealing.compare import equal_opened, strip_sops_metadata, with_leaves
from agentsd.control.sealing.reseal import reseal_document
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_existing, get_value, iter_leaves
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer
from agentsd.files.yaml.blocks import CannotEdit, append_block, extract_top_level_block
from agentsd.files.yaml.edit import update_text
from agentsd.sops.binary import SopsBinary
from agentsd.sops.opener import Opener

_SEALED_COMMENT = "#ENC["


async def open_text(document: Document, opener: Opener) -> str:
    """Return the text of a sealed manifest with its plain values, and without its ``sops`` block.

    Raises ``SealError`` and ``SopsFailed`` where it cannot be opened, ``CannotEdit`` where only sops can
    write the text.
    """
    text = document.data.decode()
    if _SEALED_COMMENT in text:
        raise CannotEdit("the file has sealed comments")
    opened = await opener.open_surely(document)
    return update_text(text, opened.value)


async def seal_text(
    document: Document, edited: str, *, file: Path, opener: Opener, sops: SopsBinary
) -> bytes:
    """Return ``document`` with the plain text ``edited`` of ``open_text``, sealed as it was.

    Raises ``InvalidManifests`` where that is not YAML, ``CannotEdit`` where only sops can seal it, and as
    ``reseal_document`` does.
    """
    opened = await opener.open_surely(document)
    wanted = parse_document(document.path, edited.encode())
    before = strip_sops_metadata(document.value)
    same = {
        pointer: get_existing(before, pointer)
        for pointer in opened.sealed
        if _equals(opened.value, wanted.value, pointer)
    }
    value = with_leaves(wanted.value, same)
    sealed = await reseal_document(document, value, {}, file=file, opener=opener, sops=sops)
    if "sops" not in sealed.value:
        return update_text(edited, sealed.value).encode()
    return await _keep_form(document, edited, sealed, opener)


def _equals(opened: dict[str, object], wanted: dict[str, object], pointer: Pointer) -> bool:
    try:
        found = get_existing(wanted, pointer)
    except (KeyError, IndexError, TypeError):
        return False
    return not is_sealed(found) and equal_opened(get_value(opened, pointer), found)


async def _keep_form(document: Document, edited: str, sealed: Document, opener: Opener) -> bytes:
    """Return ``edited`` with the seals of ``sealed``.

    Raises ``CannotEdit`` where their order, and so the MAC, would differ.
    """
    block = extract_top_level_block(sealed.data.decode(), "sops")
    plain = {name: leaf for name, leaf in sealed.value.items() if name != "sops"}
    final = parse_document(document.path, append_block(update_text(edited, plain), block).encode())
    if [*iter_leaves(final.value)] != [*iter_leaves(sealed.value)]:
        raise CannotEdit("fields have another order")
    await opener.open_surely(final)
    return final.data
