"""Model of operations: plain values, from which the document and the page are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = dict[str, Any]
"""A JSON Schema of draft 2020-12, which is OpenAPI 3.1's own dialect."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
JSON_TYPE = "application/json"


def refer_to_schema(name: str) -> Schema:
    """Return a reference to a schema among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """Parameter of a path, a query or a header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Schema
    example: Any = None


@dataclass(frozen=True, slots=True)
class MediaType:
    """Form of a body. ``schema`` None: bytes, which JSON Schema does not describe."""

    schema: Schema | None = None
    kind: str = JSON_TYPE
    example: Any = None


@dataclass(frozen=True, slots=True)
class RequestBody:
    """Body of a request, in one of its forms."""

    forms: tuple[MediaType, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """Response that is not an error. ``headers`` are names of ``headers.HEADERS``."""

    status: int
    description: str
    forms: tuple[MediaType, ...] = ()
    headers: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Parameters of follow-up operations by operation id, as runtime expressions."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Method of a path, with all its responses.

    ``errors`` are the statuses of ``errors.ERRORS`` beyond those of any request. ``role`` is the lowest
    one that a token needs (None: no token; "signed": another proof). ``on``, ``query`` and ``curl``
    configure the example: the agent, the URL's query, and options.
    """

    id: str
    method: Method
    path: str
    group: str
    summary: str
    replies: tuple[Reply, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: RequestBody | None = None
    errors: tuple[int, ...] = ()
    role: Literal["viewer", "editor", "admin", "signed"] | None = "viewer"
    on: str = ""
    query: str = ""
    curl: str = ""
    streams: bool = False
    """The response lasts until either side closes it."""

    @property
    def is_openai(self) -> bool:
        """Return whether errors have OpenAI's shape."""
        return self.path.startswith("/v1/")
