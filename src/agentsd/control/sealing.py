"""Sealing a plain manifest: the real sops seals, and only what it sealed changes in the text."""

from __future__ import annotations

from pathlib import Path

from agentsd.control.seals import sealed_pointers
from agentsd.core.document import Document, parse
from agentsd.core.errors import ConfigError, InvalidManifests
from agentsd.files.rewrite import rewrite
from agentsd.files.splice import CannotSplice
from agentsd.sops.binary import SopsBinary


async def seal(document: Document, file: Path, sops: SopsBinary) -> bytes:
    """The text of ``document`` with its secrets sealed by the creation rules that fit ``file``.

    Comments, order and blank lines stay, or where that cannot be done with certainty the text is
    as sops wrote it. The plaintext goes to sops through a pipe only. Raises ``ConfigError`` where
    it is sealed already or no rule fits, ``SopsFailed`` where sops refuses.
    """
    if "sops" in document.value:
        raise ConfigError(f"{file} is sealed already", hint=f"to change it: agentsd edit {file}")
    sealed = await sealed_by_rule(document, file, sops)
    if all(pointer[0] == "sops" for pointer in sealed_pointers(sealed.value)):
        raise ConfigError(
            f"{file} holds nothing that .sops.yaml tells to seal",
            hint="a manifest without secrets may stay plain",
        )
    return sealed.data


async def sealed_by_rule(document: Document, file: Path, sops: SopsBinary) -> Document:
    """``document`` sealed by the creation rules that fit ``file``, be it anything or nothing of it.

    Its text stays as in ``seal``. Raises ``SopsFailed``.
    """
    output = await sops.encrypt(document.data, path=str(file.absolute()))
    sealed = parse(document.path, output)
    try:
        return parse(document.path, rewrite(document.data.decode(), sealed.value).encode())
    except (CannotSplice, InvalidManifests):
        return sealed
