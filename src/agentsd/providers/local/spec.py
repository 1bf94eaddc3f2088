"""Plain values that the server and its providers exchange with engines, without the means to run any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class EngineFailure(Exception):
    """Request that was not answered, with a code: a library's exception, a refusal, or one of these."""

    ENDED = "process_ended"
    CLOSED = "closed"
    UNREAD = "unread_answer"

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class LoadFailure(EngineFailure):
    """Model that could not be loaded."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Model with its settings: two providers with equal specs can share a process."""

    vendor: str
    module: str  # with ``need`` and ``load``: see ``host``
    settings: tuple[tuple[str, Any], ...]
    threads: int = 1  # requests that it works on at a time

    @classmethod
    def of(cls, vendor: str, module: str, settings: Mapping[str, Any], threads: int = 1) -> EngineSpec:
        """Return the spec for plain JSON ``settings``."""
        return cls(vendor, module, tuple(sorted(settings.items())), threads)


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """Part of an answer."""

    fields: Mapping[str, Any]
    body: bytes = b""
