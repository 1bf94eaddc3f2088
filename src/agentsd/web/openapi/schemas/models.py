"""Schemas of the classes of replies and of request bodies, made by pydantic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from agentsd.web.openapi.model import Schema

_TEMPLATE = "#/components/schemas/{model}"


class _SchemaGenerator(GenerateJsonSchema):
    """Generator for which a reply leaves no field of a dataclass out: none has a default."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        if self.mode == "serialization":
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def make_model_schemas(
    models: Iterable[Any], mode: Literal["validation", "serialization"]
) -> dict[str, Schema]:
    """Return the schemas of ``models``, and of all that they contain, by the names of the classes."""
    every: Any = tuple[tuple(dict.fromkeys(models))]  # type: ignore[misc]
    made = TypeAdapter(every).json_schema(
        mode=mode, ref_template=_TEMPLATE, schema_generator=_SchemaGenerator
    )
    tidied: dict[str, Schema] = tidy_schema(made.get("$defs", {}), names=True)
    return tidied


def tidy_schema(node: Any, *, names: bool = False) -> Any:
    """Remove the titles that pydantic makes of names, and the double backticks of docstrings.

    ``names``: the keys of ``node`` are names of fields or classes.
    """
    if isinstance(node, list):
        return [tidy_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value.replace("``", "`")
        if key == "description" and isinstance(value, str)
        else tidy_schema(value, names=not names and key in ("properties", "$defs"))
        for key, value in node.items()
        if names or key != "title" or not isinstance(value, str)
    }
