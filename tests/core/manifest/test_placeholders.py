"""Placeholders: what is one, what is literal, and what is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.placeholders import InvalidTemplate, Placeholder, fill_template, parse_template


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{x}", (Placeholder("argument", "x"),)),
        ("{{x}}", (Placeholder("variable", "x"),)),
        ("a{x}b{{y-1}}c", ("a", Placeholder("argument", "x"), "b", Placeholder("variable", "y-1"), "c")),
        ("\\{x\\}", ("{x}",)),
        ("{x}{x}", (Placeholder("argument", "x"),) * 2),
    ],
)
def test_what_a_template_consists_of(text: str, parts: tuple[object, ...]) -> None:
    """Literal texts and placeholders, in order."""
    assert parse_template(text) == parts


@pytest.mark.parametrize(
    "text", ["{", "}", "{x", "x}", "{}", "{ x }", "{1x}", "{{x}", "{x}}", "{x.y}", "{{}}"]
)
def test_a_brace_without_a_placeholder(text: str) -> None:
    """It is a mistake, never a literal."""
    with pytest.raises(InvalidTemplate):
        parse_template(text)


@given(st.text(), st.text())
def test_a_value_is_never_parsed_again(before: str, value: str) -> None:
    """Whatever it contains."""
    escaped = before.replace("\\", "").replace("{", "\\{").replace("}", "\\}")
    literal = before.replace("\\", "")
    assert fill_template(parse_template(escaped + "{x}"), {"x": value}, {}, str) == literal + value
