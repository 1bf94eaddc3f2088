"""Agents as values: the manifest's own fields, and the desired, stored and live state.

``AgentHead`` is the part of a manifest that belongs to no vendor; the sections ``llm``, ``tts``
and ``stt`` are added by ``control.validation.schema`` from the catalog of providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from agentsd.core.manifest.checks import Check
from agentsd.core.manifest.chunks import Chunk
from agentsd.core.manifest.handoff import HANDOFFS_MAX, NO_LINKS, AgentLinks, Handoff, Override
from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.manifest.tools import ToolEntries, ToolRounds
from agentsd.core.manifest.turn import OnError, Turn
from agentsd.core.manifest.variables import VARIABLES_MAX, Variable

KINDS = ("llm", "tts", "stt")
"""Sections of the providers of a call; each has its own column in Postgres."""

SECTIONS = (*KINDS, "embedding")
"""All sections of a manifest that name a provider."""

NAME_MAX = 200
DESCRIPTION_MAX = 2000
PLAIN_FIELD = {"x-plain": True}
"""Marker of a structural field: it must not be sealed, so that a sync needs no key."""


class Rag(StrictModel):
    """Knowledge as code: documents that the agent may quote."""

    sources: Annotated[
        list[str],
        Field(
            min_length=1,
            description="Markdown, text or PDF files inside the owner's folder.",
            examples=[["knowledge/faq.md"]],
            json_schema_extra=PLAIN_FIELD,
        ),
    ]
    top_k: Annotated[
        int, Field(ge=1, le=50, description="How many passages an answer may use.", examples=[6])
    ] = 6


class AgentHead(StrictModel):
    """A manifest without its providers."""

    id: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            description="The agent's identity: a lower-case UUID, pinned at birth so that a rename keeps it.",
            examples=["3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=NAME_MAX,
            description="Display name; the slug where absent.",
            examples=["Support"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    description: Annotated[
        str,
        Field(
            max_length=DESCRIPTION_MAX,
            description="One line on what the agent is for.",
            examples=["First-line support"],
        ),
    ] = ""
    default: Annotated[
        bool,
        Field(
            description="Answers when no agent is named; at most one per owner.",
            examples=[True],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = False
    active: Annotated[
        bool,
        Field(
            description="false suspends the agent without deleting it.",
            examples=[True],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = True
    prune: Annotated[
        bool,
        Field(
            description="false keeps the agent when its file goes; a delete through the API still works.",
            examples=[False],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = True
    system_prompt: Annotated[
        str,
        Field(
            description="What the model is told before every conversation.",
            examples=["You are a patient support agent."],
        ),
    ] = ""
    system_prompt_file: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A text file in the owner's folder that takes the place of `system_prompt`.",
            examples=["prompts/support.md"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    greeting: Annotated[
        str,
        Field(description="What the agent says when a call begins.", examples=["Hello, how can I help?"]),
    ] = ""
    language: Annotated[
        str | None,
        Field(
            pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$",
            description="Language of the conversation, as in BCP 47; the providers' own where absent.",
            examples=["en"],
        ),
    ] = None
    turn: Annotated[Turn, Field(description="Turn-taking in a call.")] = Turn()
    on_error: Annotated[
        OnError | None, Field(description="Optional: what a caller hears when a vendor fails.")
    ] = None
    variables: Annotated[
        dict[str, Variable] | None,
        Field(
            min_length=1,
            max_length=VARIABLES_MAX,
            description="Optional: values that a session brings, for `{{name}}` in texts.",
            examples=[{"customer_name": {"type": "string", "max_length": 80, "default": "there"}}],
        ),
    ] = None
    overrides: Annotated[
        list[Override] | None,
        Field(
            description="Optional: all that clients may change for themselves; everything where absent.",
            examples=[["language", "temperature"]],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    handoff: Annotated[
        list[Handoff],
        Field(max_length=HANDOFFS_MAX, description="Other agents that a conversation may go on with."),
    ] = []  # noqa: RUF012  (pydantic copies it)
    rag: Annotated[Rag | None, Field(description="Optional: knowledge as code.")] = None
    tools: ToolEntries = []  # noqa: RUF012  (pydantic copies it)
    tool_rounds: ToolRounds = 6
    checks: Annotated[
        list[Check], Field(max_length=200, description="What it must answer: run by `agentsd test`.")
    ] = []  # noqa: RUF012  (pydantic copies it)


@dataclass(frozen=True, slots=True)
class Attachment:
    """File that belongs to an agent beside its manifest: its prompt, a knowledge source or a layer."""

    path: str  # relative to the tree
    digest: bytes  # SHA-256 of its bytes
    data: bytes | None = None  # None: already stored, so not read again
    passages: tuple[Chunk, ...] | None = field(default=None, compare=False, repr=False)
    """Text of a source that is slow to read. None: already stored, or quick to read."""


@dataclass(frozen=True, slots=True)
class Attachments:
    """Files that belong to an agent beside its manifest."""

    prompt: Attachment | None = None
    sources: tuple[Attachment, ...] = ()
    layers: tuple[Attachment, ...] = ()
    """The documents that the manifest is merged with, in order, without itself (``core.manifest.layers``)."""
    locks: tuple[Attachment, ...] = ()
    """Files that pin the tools of MCP servers (``core.manifest.tool_lock``), each once."""

    def __bool__(self) -> bool:
        return bool(self.prompt or self.sources or self.layers or self.locks)

    @property
    def all(self) -> tuple[Attachment, ...]:
        """Return what the manifest names: the prompt, then sources and locks in the manifest's order."""
        named = (*self.sources, *self.locks) if self.locks else self.sources
        return (self.prompt, *named) if self.prompt else named

    @property
    def documents(self) -> tuple[Attachment, ...]:
        """Return what is stored beside the manifest's own document: prompt, layers, locks."""
        return (*((self.prompt,) if self.prompt else ()), *self.layers, *self.locks)

    def without_data(self) -> Attachments:
        """Return a copy without the bytes, for attachments that are already stored."""
        bare = [
            tuple(replace(one, data=None, passages=None) for one in some)
            for some in (self.sources, self.layers, self.locks)
        ]
        return Attachments(self.prompt and replace(self.prompt, data=None), *bare)


def compute_digest(document: bytes, attachments: Attachments) -> bytes:
    """Return the SHA-256 of an agent's layers: the manifest's own digest if nothing is attached.

    The path of a layer counts as well: its folder determines whose secrets it contains.
    """
    if not attachments:
        return document
    digest = sha256()
    if attachments.layers:
        digest.update(b"%d layers\n" % len(attachments.layers))
        for layer in attachments.layers:
            digest.update(sha256(layer.path.encode()).digest() + layer.digest)
    digest.update(document)
    for attachment in attachments.all:
        digest.update(attachment.digest)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Desired agent: a manifest that was read, checked and (given a key) verified.

    ``value`` and ``data`` are None for a file whose digest is stored already: it was checked
    when it was stored, so nothing of it needs to be read again.
    """

    id: UUID
    slug: str
    owner: str
    path: str  # relative to the tree, with "/"
    digest: bytes  # SHA-256 over the layers: ``compute_digest(document_digest, attachments)``
    default: bool
    verified: bool  # the seal's MAC was checked with a key (or nothing is sealed)
    active: bool = True
    value: Mapping[str, Any] | None = None  # the document, sealed strings in place, without ``sops``
    data: bytes | None = None  # the file, byte for byte
    document_digest: bytes = b""  # SHA-256 of the file alone; empty: the same as ``digest``
    attachments: Attachments = Attachments()
    seals: frozenset[bytes] = frozenset()  # fingerprints of every ENC[…] value and wrapped data key
    lent: frozenset[bytes] = frozenset()  # those of layers at the top, for another owner's agent
    prints: Mapping[tuple[str | int, ...], bytes] | None = None
    """Keyed fingerprints of the opened values by pointer: equal ones are equal secrets. None: no key."""
    links: AgentLinks = NO_LINKS


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """Row of ``agents`` that is not deleted, with the columns that a plan needs."""

    id: UUID
    slug: str
    owner: str
    source: str
    path: str
    digest: bytes
    is_default: bool
    version: int
    verified: bool
    drifted: bool  # the row no longer hashes to what sync wrote: it was edited by hand
    checked: bytes  # of the schema and trust settings that it was checked with
    active: bool = True
    document_digest: bytes = b""  # SHA-256 of the manifest alone
    attachments: Attachments = Attachments()
    value: Mapping[str, Any] | None = None  # loaded only for rows whose digest changed
    prune: bool = True  # as in its last manifest; loaded only for rows without a file
    held: Mapping[str, Any] | None = None  # the row's columns; loaded only where it drifted
    prints: Mapping[tuple[str | int, ...], bytes] | None = None
    links: AgentLinks = NO_LINKS


@dataclass(frozen=True, slots=True)
class AgentRow:
    """Row as the runtime loads it: the document and its columns in SQL."""

    id: UUID
    slug: str
    owner: str
    source: str
    path: str
    version: int
    digest: bytes
    is_default: bool
    is_active: bool
    name: str
    commit: str | None
    created_at: datetime
    updated_at: datetime
    deleted: bool = False
    data: bytes = b""  # the document, byte for byte; empty for a tombstone
    prompt: bytes | None = None  # the file of ``system_prompt_file``
    sources: tuple[tuple[str, bytes], ...] = ()  # (path, digest) of every source of knowledge
    layers: tuple[Attachment, ...] = ()  # with their bytes, as in ``Attachments``
    locks: tuple[Attachment, ...] = ()  # likewise

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Return the bytes of everything that is merged and opened."""
        return (self.data, *(layer.data or b"" for layer in self.layers))
