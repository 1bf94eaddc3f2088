"""What operations are described with: plain values, from which the document and the page are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = dict[str, Any]
"""A JSON Schema of draft 2020-12, which is OpenAPI 3.1's own dialect."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
JSON = "application/json"


def ref(name: str) -> Schema:
    """The schema of that name among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a path, a query or a header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Schema
    example: Any = None


@dataclass(frozen=True, slots=True)
class Content:
    """One form of a body. ``schema`` None: bytes, of which JSON Schema says nothing."""

    schema: Schema | None = None
    kind: str = JSON
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, in one of its forms."""

    forms: tuple[Content, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is no error. ``headers`` are names of ``headers.HEADERS``."""

    status: int
    description: str
    forms: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By the id of the operation that follows: its parameters, as runtime expressions."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, and everything that may come of it.

    ``errors`` are the statuses of ``errors.ERRORS`` beyond those that any request may meet. ``role``
    is the least that a token needs (None: no token at all; "signed": another proof). ``on``, ``query``
    and ``curl`` are of the example: the agent, the URL's query, and options.
    """

    id: str
    method: Method
    path: str
    group: str
    summary: str
    replies: tuple[Reply, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: tuple[int, ...] = ()
    role: Literal["viewer", "editor", "admin", "signed"] | None = "viewer"
    on: str = ""
    query: str = ""
    curl: str = ""
    streams: bool = False
    """It lasts until somebody hangs up."""

    @property
    def is_openai(self) -> bool:
        """Whether errors have OpenAI's shape."""
        return self.path.startswith("/v1/")
