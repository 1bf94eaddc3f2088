"""JSON Schema of a tool's parameters: checked with the manifest, applied to the arguments of each call. Pure.

Regular expressions take linear time, and no schema is ever fetched: a model chooses the arguments, and
whoever writes a manifest, or answers as an MCP server, chooses the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

ARGUMENTS_BYTES_MAX = 64 << 10
"""Bytes of the arguments of one call."""
SCHEMA_NODES_MAX = 2000
"""Keys, values and entries of one tool's schema."""
SCHEMA_DEPTH_MAX = 16
PROBLEMS_MAX = 5
"""Problems of one call's arguments that are reported to the model."""
_REGEX_SIZE = 1 << 20
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_IDENTITIES = frozenset({"$schema", "$id", "$anchor", "$vocabulary"})


class InvalidArguments(ValueError):
    """Error of arguments that do not fit. Its text is for the model: places and rules, no values."""


class ArgumentSchema:
    """Schema of one tool's arguments, compiled at the first call. Equal schemas are equal values."""

    __slots__ = ("_validator", "value")

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value
        self._validator: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArgumentSchema) and self.value == other.value

    def __hash__(self) -> int:
        return hash(orjson.dumps(self.value, option=orjson.OPT_SORT_KEYS))

    def parse(self, text: str) -> dict[str, Any]:
        """Return the arguments that a model wrote, with defaults. Raises ``InvalidArguments``."""
        return self.check(parse_arguments(text))

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``arguments`` with defaults. Raises ``InvalidArguments``."""
        whole = {**_find_defaults(self.value), **arguments}
        if self._validator is None:
            self._validator = _compile(self.value)
        if not self._validator.is_valid(whole):
            problems = dict.fromkeys(_describe_errors(self._validator, whole))
            raise InvalidArguments("; ".join(list(problems)[:PROBLEMS_MAX]))
        return whole


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the object that a model wrote as arguments. Raises ``InvalidArguments``.

    Nothing and ``null`` are an empty one; some models write the object's JSON as a JSON text.
    """
    if len(text) > ARGUMENTS_BYTES_MAX:
        raise InvalidArguments(f"the arguments are longer than {ARGUMENTS_BYTES_MAX} characters")
    try:
        found = orjson.loads(text) if text.strip() else {}
        found = _read_inner(found) if isinstance(found, str) else found
    except orjson.JSONDecodeError:
        raise InvalidArguments("the arguments are not JSON") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidArguments("the arguments are not a JSON object")
    return found


def _read_inner(text: str) -> Any:
    return orjson.loads(text) if text.strip() else {}


def repair_arguments(text: str) -> str:
    """Return arguments as vendors accept them in a conversation: ``text``, or an empty object.

    Chat templates parse them, so that a call with anything but an object fails every further request.
    """
    if not text.strip():
        return "{}"
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "{}"
    return text if isinstance(found, dict) else "{}"


def make_parameters_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with ``properties``: each is required unless it has a default."""
    required = [
        name for name, one in properties.items() if not isinstance(one, Mapping) or "default" not in one
    ]
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = required
    return schema | {"additionalProperties": False}


def find_schema_problem(schema: object) -> str | None:
    """Return why ``schema`` cannot be the schema of a tool's arguments; None if it can."""
    if problem := _find_size_problem(schema):
        return problem
    import jsonschema_rs

    try:
        if not jsonschema_rs.meta.is_valid(cast("dict[str, Any]", schema)):
            return "it is not a JSON Schema"
        _compile(schema)
    except Exception:  # the library's own errors quote the schema
        return "it is not a JSON Schema that can be used: check its types, patterns and references"
    return None


def _find_size_problem(schema: object) -> str | None:
    nodes: list[tuple[object, int]] = [(schema, 0)]
    count = 0
    while nodes:
        node, depth = nodes.pop()
        count += 1
        if count > SCHEMA_NODES_MAX or depth > SCHEMA_DEPTH_MAX:
            return f"it has more than {SCHEMA_NODES_MAX} values, or more than {SCHEMA_DEPTH_MAX} levels"
        if isinstance(node, Mapping):
            for key, child in node.items():
                if key in _REFERENCES and not (isinstance(child, str) and child.startswith("#")):
                    return "it refers to another document"
                if key in _IDENTITIES and isinstance(child, str) and depth:
                    return f"{key} within it changes what references mean"
                nodes.append((child, depth + 1))
        elif isinstance(node, list):
            nodes.extend((child, depth + 1) for child in node)
    return None


def _compile(schema: Any) -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_SIZE), offline=True
    )


def _find_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {
        name: one["default"]
        for name, one in properties.items()
        if isinstance(one, Mapping) and "default" in one
    }


def _describe_errors(validator: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield the place and the broken rule of each error, in our own words."""
    for error in validator.iter_errors(arguments):
        place = ".".join(str(part) for part in error.instance_path)
        rule = str(error.schema_path[-1]) if error.schema_path else "schema"
        yield f"{place or 'the arguments'}: {_RULES.get(rule, f'breaks the rule {rule}')}"


_RULES: Mapping[str, str] = {
    "required": "a required member is missing",
    "additionalProperties": "there is a member that the tool does not have",
    "type": "the type is wrong",
    "pattern": "it does not match the pattern",
    "enum": "it is not one of the allowed values",
}
