"""Commands of write-back: frozen values, from the API or the command line. ``edit_planner`` decides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Digests = frozenset[str] | None
"""Hex digests, of which the agent must have one; None: any."""


@dataclass(frozen=True, slots=True)
class EditTarget:
    """Agent that is meant, as the caller identifies it."""

    id: UUID
    slug: str
    owner: str
    path: str
    source: str


@dataclass(frozen=True, slots=True)
class CreateAgent:
    """Create a manifest. Without ``slug``, one is made from the name, in the folder of ``owner``."""

    owner: str
    slug: str | None
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChangeAgent:
    """Change a manifest as ``PATCH`` (``merge``) or ``PUT``."""

    target: EditTarget
    fields: Mapping[str, Any] = field(repr=False)
    merge: bool
    expected: Digests = None


@dataclass(frozen=True, slots=True)
class RestoreAgent:
    """Restore the manifest of an older revision, byte for byte; ``revive``: also where it is gone."""

    target: EditTarget
    data: bytes = field(repr=False)
    expected: Digests = None
    revive: bool = False


@dataclass(frozen=True, slots=True)
class SetDefault:
    """Make an agent its owner's default; the previous one is cleared first."""

    target: EditTarget
    expected: Digests = None


@dataclass(frozen=True, slots=True)
class DeleteAgent:
    """Delete a manifest, or an agent that outlived it. Other files beside it (prompts) stay."""

    target: EditTarget
    expected: Digests = None


@dataclass(frozen=True, slots=True)
class WriteText:
    """Replace the text of a file that an agent names: its prompt, or a source of its knowledge."""

    target: EditTarget
    path: str  # relative to the tree
    data: bytes = field(repr=False)
    expected: Digests = None  # SHA-256 of the file as the caller saw it


@dataclass(frozen=True, slots=True)
class CreateToken:
    """Add a token to the file of ``owner``, as ``core.api_tokens.make_token_entry`` makes it."""

    owner: str
    entry: Mapping[str, Any] = field(repr=False)
    force: bool = False  # also where it would lock out the caller


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Remove the token ``name`` from the file of ``owner``."""

    owner: str
    name: str
    force: bool = False  # also where it would lock out the caller
    others: bool = False  # the server has tokens of admins that are in no user file


AgentCommand = CreateAgent | ChangeAgent | RestoreAgent | SetDefault | DeleteAgent | WriteText
TokenCommand = CreateToken | RevokeToken
WriteCommand = AgentCommand | TokenCommand


def get_target(command: WriteCommand) -> EditTarget | None:
    """Return the agent that a command edits; None where it edits no existing agent."""
    match command:
        case CreateAgent() | CreateToken() | RevokeToken():
            return None
        case _:
            return command.target


def get_owner(command: WriteCommand) -> str:
    """Return whose files a command edits."""
    match command:
        case CreateAgent() | CreateToken() | RevokeToken():
            return command.owner
        case _:
            return command.target.owner
