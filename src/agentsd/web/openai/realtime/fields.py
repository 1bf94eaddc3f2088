"""Reading of clients' fields: each wrong one is a ``Problem`` that names it and quotes no value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agentsd.web.http.problem import Problem

REFUSALS_MAX = 20
"""Maximum ``error`` events for one event of a client; the last names how many fields were left out."""


class RealtimeModel(BaseModel):
    """Base model that ignores unknown keys: clients send fields of newer servers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=RealtimeModel)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def refuse_value(param: str, detail: str = "", hint: str = "") -> Problem:
    """Return the problem of a value that this server does not support."""
    return Problem(
        400,
        "invalid_value",
        detail or f"{param} is not a value that this server supports",
        hint=hint,
        param=param,
    )


def refuse_unknown(where: str, key: object) -> Problem:
    """Return the problem of a field that this server does not know."""
    param = f"{where}.{_quote_name(key)}"
    return Problem(400, "unknown_parameter", f"{param} is not a field that this server knows", param=param)


def parse_model(shape: type[M], value: object, where: str) -> M:
    """Parse ``value`` as a ``shape``. Raise ``Problem`` 400, which names the field."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise refuse_value(_list_params(error, where)[0]) from None


def read_model(shape: type[M], value: object, where: str, refused: list[Problem]) -> M | None:
    """Read the fields of ``value`` that are right, and add a problem to ``refused`` for each other.

    Return None where what is left is not a ``shape``.
    """
    if not isinstance(value, Mapping):
        refused.append(refuse_value(where))
        return None
    known = {key: one for key, one in value.items() if key in shape.model_fields}
    refused += [refuse_unknown(where, key) for key in value if key not in known]
    try:
        return shape.model_validate(known)
    except ValidationError as error:
        refused += [refuse_value(param) for param in dict.fromkeys(_list_params(error, where))]
        wrong = {one["loc"][0] for one in error.errors(include_url=False, include_input=False) if one["loc"]}
    try:
        return shape.model_validate({key: one for key, one in known.items() if key not in wrong})
    except ValidationError:
        return None


def limit_refusals(refused: list[Problem]) -> list[Problem]:
    """Return at most ``REFUSALS_MAX`` problems."""
    more = len(refused) - REFUSALS_MAX
    if more <= 0:
        return refused
    return [*refused[:REFUSALS_MAX], refuse_value("session", f"{more} more fields are not supported")]


def _list_params(error: ValidationError, where: str) -> list[str]:
    errors: list[Any] = list(error.errors(include_url=False, include_input=False, include_context=False))
    return [
        ".".join(filter(None, [where, *(_quote_name(one) for one in found["loc"] if not _is_branch(one))]))
        for found in errors
    ]


def _quote_name(part: object) -> str:
    """Return a client's name of a field if it looks like one."""
    return str(part) if _NAME.fullmatch(str(part)) else "field"


def _is_branch(part: object) -> bool:
    """Return whether pydantic added this part for a branch of a union."""
    return isinstance(part, str) and ("[" in part or part in ("int", "float", "str", "bool"))
