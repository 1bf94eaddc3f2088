"""Sealing a plain manifest: the real sops seals, and only what it sealed changes in the text."""

from __future__ import annotations

from pathlib import Path

from agentsd.control.seals import sealed_pointers
from agentsd.core.document import Document, parse
from agentsd.core.errors import ConfigError, InvalidManifests
from agentsd.core.violations import Pointer
from agentsd.files.splice import CannotSplice, append_block, replace_scalars, top_level_block
from agentsd.sops.binary import SopsBinary


async def seal(document: Document, file: Path, sops: SopsBinary) -> bytes:
    """The text of ``document`` with its secrets sealed by the creation rules that fit ``file``.

    Comments, order and blank lines stay, or where that cannot be done with certainty the text is
    as sops wrote it. The plaintext goes to sops through a pipe only. Raises ``ConfigError`` where
    it is sealed already or no rule fits, ``SopsFailed`` where sops refuses.
    """
    if "sops" in document.value:
        raise ConfigError(f"{file} is sealed already", hint=f"to change it: agentsd edit {file}")
    output = await sops.encrypt(document.data, path=str(file.absolute()))
    sealed = parse(document.path, output)
    pointers = [p for p in sealed_pointers(sealed.value) if p[0] != "sops"]
    if not pointers:
        raise ConfigError(
            f"{file} holds nothing that .sops.yaml tells to seal",
            hint="a manifest without secrets may stay plain",
        )
    return _spliced(document, sealed, pointers) or output


def _spliced(document: Document, sealed: Document, pointers: list[Pointer]) -> bytes | None:
    """``document`` with the seals of ``sealed``; None where that would not read as ``sealed`` does."""
    try:
        values = {pointer: _at(sealed, pointer) for pointer in pointers}
        text = replace_scalars(document.data.decode(), values)
        text = append_block(text, top_level_block(sealed.data.decode(), "sops"))
        return text.encode() if parse(document.path, text.encode()).value == sealed.value else None
    except (CannotSplice, InvalidManifests):
        return None


def _at(document: Document, pointer: Pointer) -> str:
    node: object = document.value
    for part in pointer:
        node = node[part]  # type: ignore[index]
    return str(node)
