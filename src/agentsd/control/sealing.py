"""Sealing a plain manifest: the real sops seals, and only what it sealed changes in the text."""

from __future__ import annotations

from pathlib import Path

from agentsd.control.check import sealed_pointers
from agentsd.core.document import Document, parse
from agentsd.core.errors import ConfigError
from agentsd.files.splice import append_block, replace_scalars, top_level_block
from agentsd.sops.binary import SopsBinary


async def seal(document: Document, file: Path, sops: SopsBinary) -> bytes:
    """The text of ``document`` with its secrets sealed by the creation rules that fit ``file``.

    Comments, order and blank lines stay. The plaintext goes to sops through a pipe only. Raises
    ``ConfigError`` where it is sealed already or no rule fits, ``SopsFailed`` where sops refuses.
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
    text = replace_scalars(document.data.decode(), {pointer: _at(sealed, pointer) for pointer in pointers})
    return append_block(text, top_level_block(output.decode(), "sops")).encode()


def _at(document: Document, pointer: tuple[str | int, ...]) -> str:
    node: object = document.value
    for part in pointer:
        node = node[part]  # type: ignore[index]
    return str(node)
