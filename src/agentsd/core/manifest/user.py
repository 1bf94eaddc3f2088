"""Users: the owners of agents, and the contents of ``_user.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from agentsd.core.manifest.agent import PLAIN_FIELD
from agentsd.core.manifest.strict_model import StrictModel

Role = Literal["viewer", "editor", "admin"]


class Token(StrictModel):
    """An API token: only its hash is kept, so the file needs no seal."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=100,
            description="What the token is for.",
            examples=["ci"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ]
    sha256: Annotated[
        str,
        Field(
            pattern=r"^[0-9a-f]{64}$",
            description="SHA-256 of the token, in lower-case hex.",
            examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ]
    role: Annotated[
        Role,
        Field(
            description="viewer reads and talks; editor also writes; admin (top-level file only) sees all.",
            examples=["editor"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = "viewer"
    expires: Annotated[
        str | None,
        Field(
            pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$",
            description="Last valid day or moment, in UTC, quoted.",
            examples=["2027-01-31"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None


class UserFile(StrictModel):
    """``_user.yaml``: who owns the manifests of a folder. It holds no secret."""

    email: Annotated[
        str | None,
        Field(
            pattern=r"^[^@\s]+@[^@\s]+$",
            max_length=320,
            description="Unique among users.",
            examples=["ops@example.org"],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    tokens: Annotated[
        tuple[Token, ...],
        Field(strict=False, description="API tokens; of each only its hash is kept."),
    ] = ()


@dataclass(frozen=True, slots=True)
class User:
    """Desired owner: a folder of manifests, with or without a ``_user.yaml``."""

    id: UUID
    username: str
    email: str | None = None
    tokens: tuple[Mapping[str, Any], ...] = ()
    path: str | None = None  # of its _user.yaml
    data: bytes | None = None  # that file, byte for byte


@dataclass(frozen=True, slots=True)
class StoredUser:
    """Row of ``users`` that is not deleted."""

    id: UUID
    username: str
    email: str | None
    source: str
    path: str | None
    data: bytes | None
    version: int
    tokens: tuple[Mapping[str, Any], ...] = ()
    altered: bool = False  # ``data`` does not match its digest: it was edited by hand
