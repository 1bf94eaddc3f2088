"""Schemas of a tool's arguments: what a model may write, and which schemas are none."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.core.manifest.tool_schema import (
    ARGUMENTS_BYTES_MAX,
    ArgumentSchema,
    InvalidArguments,
    find_schema_problem,
    make_parameters_schema,
    parse_arguments,
    repair_arguments,
)

SCHEMA = make_parameters_schema(
    {
        "order_id": {"type": "string", "pattern": "^[0-9]{6}$"},
        "count": {"type": "integer", "minimum": 1, "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
    }
)


def test_defaults_are_filled_in() -> None:
    """What has one is not required, and what is given wins."""
    schema = ArgumentSchema(SCHEMA)
    assert schema.parse('{"order_id": "123456"}') == {"order_id": "123456", "count": 3, "tags": []}
    assert schema.parse('{"order_id": "123456", "count": 9}')["count"] == 9
    assert ArgumentSchema(make_parameters_schema({})).parse("") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing"),
        ("{}", "missing"),
        ('{"order_id": 123456}', "order_id: the type"),
        ('{"order_id": "12"}', "order_id: it does not match"),
        ('{"order_id": "123456", "count": 0}', "count"),
        ('{"order_id": "123456", "count": null}', "count: the type"),
        ('{"order_id": "123456", "tags": [1]}', "tags.0"),
        ('{"order_id": "123456", "admin": true}', "does not have"),
        ('{"order_id": "123456"', "not JSON"),
        ("order 123456", "not JSON"),
        ('{"order_id": "\\ud800"}', ""),
        ('{"order_id": NaN}', "not JSON"),
        ('{"count": 1e999}', ""),
        ('["123456"]', "not a JSON object"),
        ("null", "a required member is missing"),
        ('"order 123456"', "not JSON"),
        ('"[123456]"', "not a JSON object"),
        ("[" * 5000, "not JSON"),
        ('{"order_id": "' + "1" * ARGUMENTS_BYTES_MAX + '"}', "longer"),
    ],
)
def test_what_does_not_fit_is_explained_without_its_values(text: str, said: str) -> None:
    """Places and rules, in our own words."""
    with pytest.raises(InvalidArguments) as caught:
        ArgumentSchema(SCHEMA).parse(text)
    assert said in str(caught.value)
    assert "123456" not in str(caught.value)
    assert "admin" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n", "null", "{}", '"{}"', '"null"', '""'])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    """However a model writes that it has none."""
    assert parse_arguments(text) == {}


def test_an_object_within_a_text_is_the_object() -> None:
    """Some models write its JSON as a JSON text."""
    assert ArgumentSchema(SCHEMA).parse('"{\\"order_id\\": \\"123456\\"}"')["order_id"] == "123456"


@pytest.mark.parametrize(
    ("text", "sent"),
    [('{"a": 1}', '{"a": 1}'), ("", "{}"), ("  ", "{}"), ("null", "{}"), ('{"a": "b', "{}"), ("[1]", "{}")],
)
def test_a_conversation_has_objects_only(text: str, sent: str) -> None:
    """Chat templates of vLLM and llama.cpp parse the arguments of earlier calls, and refuse the rest."""
    assert repair_arguments(text) == sent


@pytest.mark.parametrize(
    "schema",
    [
        5,
        "string",
        {"type": "text"},
        {"type": ["string", "nothing"]},
        {"properties": {"x": {"type": "string", "minLength": "a"}}},
        {"properties": {"x": {"pattern": "("}}},
        {"properties": {"x": {"pattern": "(?=a)"}}},
        {"properties": {"x": {"pattern": "(a{1000}){1000}"}}},
        {"$ref": "http://127.0.0.1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"x": {"$ref": "#/$defs/nothing"}}},
        {"properties": {"x": {"$id": "http://a.example/", "$ref": "#/x"}}},
        {"properties": {f"p{n}": {} for n in range(3000)}},
        {"enum": [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]},
    ],
)
def test_a_schema_that_cannot_be_used(schema: Any) -> None:
    """Is found before anything is stored; nothing is fetched."""
    assert find_schema_problem(schema)


def test_a_hostile_pattern_takes_linear_time() -> None:
    """A model chooses the text."""
    schema = ArgumentSchema(make_parameters_schema({"x": {"type": "string", "pattern": "^(a+)+$"}}))
    with pytest.raises(InvalidArguments):
        schema.parse('{"x": "' + "a" * 20_000 + '!"}')


def test_a_schema_may_refer_to_itself() -> None:
    """To a part of its own document."""
    shared = {"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}
    assert find_schema_problem(shared) is None
