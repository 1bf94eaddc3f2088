"""Violations: the problems of a manifest, with their places and hints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from typing import Literal

VIOLATIONS_MAX = 100
"""Violations of one file that are reported: a file can have a hundred thousand."""

_NEAR_LENGTH, _NEAR_WORDS = 200, 500
"""Characters compared for a hint: that takes the square of the length, for each word."""

Severity = Literal["error", "warning"]
SEAL_UNVERIFIED = "seal-unverified"
"""Code of a seal that no available key opens: may be stored, since a runtime verifies it before use."""
UNVERIFIED = frozenset({SEAL_UNVERIFIED, "seal-pending", "key-service"})
"""Codes of seals not verified here: they concern the checking host, not the file, unless errors."""
ATTACHMENT_PENDING = "attachment-pending"
"""Code of a source that is still being read: the error resolves itself."""
PENDING = frozenset({ATTACHMENT_PENDING, "seal-pending"})
"""Codes of results that are still pending."""
Pointer = tuple[str | int, ...]
"""Keys and indices from a document's root to a node: ``("llm", "api_key")``."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Broken rule. Never contains a value of a secret field."""

    path: str  # file, relative to the tree
    code: str  # the rule's stable name: "plaintext-secret"
    message: str  # what is wrong
    hint: str = ""  # what to do
    line: int = 1  # 1-based
    column: int = 1  # 1-based, in characters
    pointer: Pointer = ()
    severity: Severity = "error"

    @property
    def where(self) -> str:
        """Return ``file:line:column``, in the format of compilers and editors."""
        return f"{self.path}:{self.line}:{self.column}"

    @property
    def field(self) -> str:
        """Return the pointer in readable form: ``rag.sources[0]``."""
        return format_pointer(self.pointer)


def format_pointer(pointer: Pointer) -> str:
    """Return a pointer in readable form: ``("rag", "sources", 0)`` → ``rag.sources[0]``."""
    text = ""
    for part in pointer:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def suggest_word(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'model'?``, or an empty string if no known word is near."""
    if len(word) > _NEAR_LENGTH:
        return ""
    words = (one for one in islice(known, _NEAR_WORDS) if len(one) <= _NEAR_LENGTH)
    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def filter_errors(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the violations that are errors, without the warnings."""
    return tuple(violation for violation in violations if violation.severity == "error")


def limit_violations(violations: Sequence[Violation]) -> tuple[Violation, ...]:
    """Return the first violations of a file, errors first, and a note that there are more."""
    if len(violations) <= VIOLATIONS_MAX:
        return tuple(violations)
    ordered = sorted(violations, key=lambda one: one.severity != "error")
    more = replace(
        ordered[VIOLATIONS_MAX], code="too-many", message="and more, not shown here", hint="fix these first"
    )
    return (*ordered[:VIOLATIONS_MAX], more)


def sort_violations(violations: Sequence[Violation]) -> tuple[Violation, ...]:
    """Return violations sorted by file and position, without repetitions."""
    return tuple(sorted(set(violations), key=lambda v: (v.path, v.line, v.column, v.code, v.message)))
