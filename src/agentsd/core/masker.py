"""Masking of secrets in documents and in their differences. Pure.

What is shown is made from the document as it is in git, still sealed, so it contains no plaintext that
could leak. In addition every sealed string and every secret field is masked, so that neither ciphertext
is shown nor a plaintext secret that somebody wrote into a file or the database by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from agentsd.core.secret import MASK, is_secret_name
from agentsd.core.violations import Pointer

SEALED_PREFIX = "ENC["


@dataclass(frozen=True, slots=True)
class Masker:
    """Masker by value (anything sealed) and by name (``names``: secret fields of every known vendor)."""

    names: frozenset[str] = frozenset()

    def is_secret(self, name: str) -> bool:
        """Return whether a field of this name is a vendor's secret, or likely to contain one."""
        return name in self.names or is_secret_name(name)

    def is_secret_at(self, pointer: Pointer) -> bool:
        """Return whether the value at ``pointer`` is, or belongs to, a secret field."""
        return any(self.is_secret(part) for part in pointer if isinstance(part, str))

    def mask(self, value: Any) -> Any:
        """Return a copy of plain JSON values in which every secret is ``**********``."""
        if isinstance(value, str):
            return MASK if value.lstrip().startswith(SEALED_PREFIX) else value
        if isinstance(value, Mapping):
            return {str(key): self._member(str(key), item) for key, item in value.items() if key != "sops"}
        if isinstance(value, (list, tuple)):
            return [self.mask(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, datetime, date)):
            return value
        return MASK  # a manifest yields no other types

    def mask_at(self, pointer: Pointer, value: Any) -> Any:
        """Return ``value`` as it may be shown at ``pointer``; whether it is empty always shows."""
        if self.is_secret_at(pointer):
            return value if value in (None, "") else MASK
        return self.mask(value)

    def _member(self, name: str, value: Any) -> Any:
        return MASK if value not in (None, "") and self.is_secret(name) else self.mask(value)
