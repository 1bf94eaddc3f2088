"""Model of operations: plain values, from which the document and the page are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, get_args

Schema = dict[str, Any]
"""A JSON Schema of draft 2020-12, which is OpenAPI 3.1's own dialect."""

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
    """Form of a body: a class of values, several, or a schema; None: bytes."""

    form: type | UnionType | Schema | None = None
    kind: str = JSON_TYPE
    example: Any = None

    @property
    def models(self) -> tuple[type, ...]:
        """Return the classes of values."""
        if isinstance(self.form, UnionType):
            return get_args(self.form)
        return (self.form,) if isinstance(self.form, type) else ()

    @property
    def schema(self) -> Schema | None:
        """Return the schema, which refers to the component of each class; None: bytes."""
        if isinstance(self.form, dict) or self.form is None:
            return self.form
        found = [refer_to_schema(model.__name__) for model in self.models]
        return found[0] if len(found) == 1 else {"anyOf": found}


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
    method: str
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
