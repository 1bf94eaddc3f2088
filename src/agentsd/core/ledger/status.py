"""Status of an agent: one word that means whether it answers. Pure.

File refused   its file breaks a rule, or does not open; the version before it answers, where there is one
Suspended      its manifest contains ``active: false``
Failing        a vendor did not answer its latest turn, and nothing has answered since
Ready          a turn, a test or a free probe of this very version was answered
Untested       nothing asked this version yet
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

StatusWord = Literal["Ready", "Untested", "Suspended", "File refused", "Failing"]
STATUS_WORDS: tuple[StatusWord, ...] = ("Ready", "Untested", "Suspended", "File refused", "Failing")
"""Words, the lightest first."""


@dataclass(frozen=True, slots=True)
class StatusCause:
    """Cause of a status: a machine's word, our own text, and what to do."""

    reason: str
    message: str
    since: datetime | None = None
    fix: str = ""
    field: str = ""  # of the manifest, to be edited: llm.api_key


@dataclass(frozen=True, slots=True)
class KindHealth:
    """Health of one section's providers: whether they answered a version, and since when."""

    kind: str
    version: int
    failing: bool
    since: datetime
    cause: StatusCause | None = None  # of one that fails


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """Status of an agent. ``cause`` None: there is nothing to say beyond the word."""

    word: StatusWord
    cause: StatusCause | None = None

    @property
    def since(self) -> datetime | None:
        """Return when its cause began."""
        return self.cause.since if self.cause else None


def decide_status(
    version: int, *, active: bool, refused: StatusCause | None, health: Iterable[KindHealth] = ()
) -> AgentStatus:
    """Return the status of an agent whose newest row is ``version``.

    ``refused``: why its file, or what a replica made of it, is not served. ``health`` of an older version
    counts for nothing: whatever was edited may be the remedy, or a new fault.
    """
    if refused is not None:
        return AgentStatus("File refused", refused)
    if not active:
        return AgentStatus("Suspended")
    known = [one for one in health if one.version >= version]
    failing = sorted((one for one in known if one.failing), key=lambda one: (one.since, one.kind))
    if failing:
        return AgentStatus("Failing", failing[0].cause)
    return AgentStatus("Ready" if known else "Untested")
