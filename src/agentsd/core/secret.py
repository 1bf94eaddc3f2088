"""``Secret``: a string that is masked when it is displayed."""

from __future__ import annotations

import hmac
import re
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MASK = "**********"

_SECRET_NAME = re.compile(r"(?:^|[_-])(?:api_?key|secret|password|passwd|token|credentials?)$", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name is likely to contain a secret."""
    return _SECRET_NAME.search(name) is not None


class Secret:
    """Secret string. ``repr``, ``str`` and ``format`` mask it; only ``reveal()`` returns it.

    Only providers call ``reveal()``. Equality compares in constant time, so that a changed secret can
    be distinguished from an unchanged one without showing either. A secret cannot be pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plaintext."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret cannot be pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from_str = core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(strict=True, min_length=1)
        )
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), from_str],
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "writeOnly": True, "format": "password"}
