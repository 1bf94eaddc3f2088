"""Masking of secrets in documents; pure.

A view is made from the document as it is in git, still sealed, so it contains no plaintext that
could leak. In addition every sealed string and every secret field is masked, so that a response
contains neither ciphertext nor a plaintext secret that somebody wrote into the database by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from agentsd.core.secret import MASK, is_secret_name

SEALED_PREFIX = "ENC["


@dataclass(frozen=True, slots=True)
class Masker:
    """Masker by value (anything sealed) and by name (``names``: secret fields of every known vendor)."""

    names: frozenset[str] = frozenset()

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

    def _member(self, name: str, value: Any) -> Any:
        if value not in (None, "") and (name in self.names or is_secret_name(name)):
            return MASK
        return self.mask(value)


def collect_secret_names(settings: Iterable[Any]) -> frozenset[str]:
    """Return the names of the secret fields of vendors' settings classes."""
    return frozenset(name for one in settings for name in one.secret_fields())
