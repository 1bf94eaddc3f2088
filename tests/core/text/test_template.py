"""Templates: what is written comes back, and a value is never read as a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.template import (
    InvalidTemplate,
    TemplateFault,
    escape_template,
    find_template_faults,
    parse_template,
)

NAMES = ("name", "plan", "_x1")
TEXTS = st.lists(
    st.sampled_from(["{", "}", "{{", "}}", "\\", "\\{{", "{{name}}", "name", " ", "\r\n", "é🙂\u202e"])
).map("".join)


@given(st.one_of(TEXTS, st.text()))
def test_an_escaped_text_is_itself(text: str) -> None:
    """Whatever a text contains, its escaped form is a template without placeholders that renders to it."""
    template = parse_template(escape_template(text), NAMES)
    assert template.names == ()
    assert template.render({}) == text


@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(NAMES))), TEXTS, st.dictionaries(st.sampled_from(NAMES), TEXTS)
)
def test_values_stand_as_they_are(parts: list[tuple[str, str]], last: str, values: dict[str, str]) -> None:
    """A value with braces, escapes or line ends is put in once, byte for byte, and nothing in it is read."""
    values = {**dict.fromkeys(NAMES, "{{plan}}"), **values}
    written = "".join(f"{escape_template(literal)} {{{{{name}}}}} " for literal, name in parts)
    template = parse_template(written + escape_template(last), NAMES)
    expected = "".join(f"{literal} {values[name]} " for literal, name in parts) + last
    assert template.render(values) == expected


@pytest.mark.parametrize("text", ["{{name}}", "{{ name }}", "{{\tname }}"])
def test_blanks_within_the_braces(text: str) -> None:
    """They are part of the placeholder, as in other template languages."""
    assert parse_template(f"<{text}>", NAMES).render({"name": "Ada"}) == "<Ada>"


@pytest.mark.parametrize(
    ("text", "token", "name"),
    [
        ("a {{nme}} b", "{{nme}}", "nme"),
        ("a {{", "{{", None),
        ('a {{"json": 1}}', "{{", None),
        ("a {{name}", "{{", None),
        ("a {{{name}}}", "{{", None),
        ("a {{na me}}", "{{", None),
        ("a {{näme}}", "{{", None),
        ("a {{\nname}}", "{{", None),
    ],
)
def test_what_is_no_placeholder_is_a_fault(text: str, token: str, name: str | None) -> None:
    """It has its place and its name; nothing is left in a text unnoticed."""
    fault = next(find_template_faults(text, NAMES))
    assert fault == TemplateFault(2, token, name)
    with pytest.raises(InvalidTemplate) as caught:
        parse_template(text, NAMES)
    assert caught.value.fault == fault


def test_a_value_is_encoded_for_its_place() -> None:
    """The encoding is of values, not of the text around them."""
    template = parse_template("/a b/{{name}}", NAMES)
    assert template.render({"name": "x y"}, encode=lambda value: value.replace(" ", "%20")) == "/a b/x%20y"


def test_ten_thousand_placeholders_take_one_pass() -> None:
    """A large text is linear."""
    template = parse_template("{{name}}" * 10_000 + "\\{{" * 10_000, NAMES)
    assert template.render({"name": "{{name}}"}) == "{{name}}" * 10_000 + "{{" * 10_000
