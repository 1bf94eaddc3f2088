"""Sealing of a plain manifest: the real sops seals, and only the sealed values change in the text."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agentsd.control.sealing.compare import strip_sops_metadata, with_leaves
from agentsd.control.validation.seals import find_sealed_pointers
from agentsd.core.errors import ConfigError, InvalidManifests
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_value, iter_leaves
from agentsd.core.sealed import is_sealed
from agentsd.files.yaml.blocks import CannotEdit, append_block, extract_top_level_block
from agentsd.files.yaml.edit import update_text
from agentsd.sops.binary import SopsBinary


async def seal_document(
    document: Document, file: Path, sops: SopsBinary, *, encrypted_regex: str = ""
) -> bytes:
    """Return the text of ``document`` with its secrets sealed by the creation rules that match ``file``.

    Comments, order and blank lines stay, or where that cannot be done with certainty the text is
    as sops wrote it. The plaintext goes to sops through a pipe only. ``encrypted_regex`` replaces what
    the rule seals. Raises ``ConfigError`` where it is sealed already or no rule matches, ``SopsFailed``
    where sops refuses.
    """
    if "sops" in document.value:
        raise ConfigError(f"{file} is sealed already", hint=f"to change it: agentsd edit {file}")
    sealed = await seal_by_rule(document, file, sops, encrypted_regex)
    if all(pointer[0] == "sops" for pointer in find_sealed_pointers(sealed.value)):
        raise ConfigError(
            f"{file} contains nothing that .sops.yaml seals",
            hint="a manifest without secrets may stay plain",
        )
    return sealed.data


async def seal_by_rule(
    document: Document, file: Path, sops: SopsBinary, encrypted_regex: str = ""
) -> Document:
    """Seal ``document`` by the creation rules that match ``file``, which may cover nothing of it.

    Its text stays as in ``seal_document``. Raises ``SopsFailed``.
    """
    path = str(file.absolute())
    output = await sops.encrypt(document.data, path=path, encrypted_regex=encrypted_regex)
    sealed = parse_document(document.path, output)
    try:
        return _splice_seals(document, sealed)
    except (CannotEdit, InvalidManifests):
        seals = {
            pointer: leaf
            for pointer, leaf in iter_leaves(strip_sops_metadata(sealed.value))
            if is_sealed(leaf)
        }
        if with_leaves(document.value, seals) != strip_sops_metadata(sealed.value):
            raise  # sops 3.11 writes null for some texts: its output is used for seals only
        return sealed


def _splice_seals(document: Document, sealed: Document) -> Document:
    """Return ``document`` with the seals of ``sealed``, and its ``sops`` block at the very end.

    Nothing else is taken from the output of sops: there 1.0 became 1, and comments in
    lists became items.
    """
    seals = {
        pointer: leaf for pointer, leaf in iter_leaves(strip_sops_metadata(sealed.value)) if is_sealed(leaf)
    }
    if any(get_value(document.value, pointer) in (None, {}, []) for pointer in seals):
        raise CannotEdit("sops reads the text differently", hint="put strings in quotes")
    values = with_leaves(document.value, seals)
    blanks = with_leaves(values, dict.fromkeys(seals))  # so that no quotes and no block remain around a seal
    text = update_text(update_text(document.data.decode(), blanks), values)
    whole = {**values, "sops": sealed.value["sops"]}
    with suppress(InvalidManifests):  # in braces, or after an end mark: appending fails
        block = extract_top_level_block(sealed.data.decode(), "sops")
        result = parse_document(document.path, append_block(text, block).encode())
        if result.value == whole:
            return result
    return parse_document(document.path, update_text(text, whole).encode())
