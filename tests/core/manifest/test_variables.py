"""Variables: typed, bounded, and never quoted."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.core.manifest.variables import (
    VARIABLES_MAX,
    Variable,
    check_values,
    find_declaration_problems,
    find_missing,
    format_value,
)

DECLARED = {
    "customer_name": Variable(type="string", max_length=8, default="there"),
    "plan": Variable(type="string", enum=["free", "pro"]),
    "order": Variable(type="string", pattern=r"^[0-9]{6}$", default="000000"),
    "age": Variable(type="integer", minimum=0, maximum=150, default=0),
    "share": Variable(type="number", maximum=1, default=0.5),
    "vip": Variable(type="boolean", default=False),
}

RIGHT: dict[str, list[Any]] = {
    "customer_name": ["Ada", "", "{{plan}}", "🙂" * 8, "\u202e\u200fx", "a\r\nb", "- x: 1"],
    "plan": ["free"],
    "order": ["123456"],
    "age": [0, 150],
    "share": [1, 0.25, -5],
    "vip": [True],
}

WRONG: dict[str, list[Any]] = {
    "customer_name": ["x" * 9, "x" * (1 << 20), 5, None, True, ["Ada"], {"a": 1}],
    "plan": ["gold", "Free", 1],
    "order": ["12345", "1234567", "x123456", "123456\r\nHost: x"],
    "age": [-1, 151, 1.0, "5", True],
    "share": [1.5, float("nan"), float("inf"), "1", False],
    "vip": [1, 0, "true", None],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_value_that_fits(name: str) -> None:
    """It is taken as it is."""
    for value in RIGHT[name]:
        checked = check_values(DECLARED, {name: value})
        assert (checked.values, checked.problems) == ({name: value}, ())


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_does_not_fit(name: str) -> None:
    """Its name is said, and what would be right; never the value. The others are taken."""
    for value in WRONG[name]:
        checked = check_values(DECLARED, {name: value, **({"vip": True} if name != "vip" else {"age": 3})})
        (problem,) = checked.problems
        assert problem.name == name
        assert name in problem.message
        assert len(problem.message) < 100
        assert len(checked.values) == 1


@pytest.mark.parametrize("given", [None, [], "x", 5, [{"plan": "free"}]])
def test_values_are_an_object(given: object) -> None:
    """Nothing else is."""
    (problem,) = check_values(DECLARED, given).problems
    assert problem.name == ""


def test_unknown_names_are_said_where_they_are_words() -> None:
    """A misspelling is; text of a client that could be anything is not."""
    problems = check_values(DECLARED, {"plam": "free", "x\r\ny" * 100: 1, "": 2}).problems
    assert [problem.name for problem in problems] == ["plam", "", ""]
    assert "plan" in problems[0].hint
    assert all("x\r\ny" not in problem.message for problem in problems)


def test_a_flood_of_names_is_one_problem() -> None:
    """They are counted before they are looked at."""
    checked = check_values(DECLARED, {f"v{number}": 1 for number in range(VARIABLES_MAX + 1)})
    assert len(checked.problems) == 1


def test_what_is_missing() -> None:
    """Only what has no default."""
    assert [one.name for one in find_missing(DECLARED, {})] == ["plan"]
    assert list(find_missing(DECLARED, {"plan": "free"})) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (3, "3"), (3.0, "3"), (2.5, "2.5"), (10**18, "1" + "0" * 18)],
)
def test_a_value_in_a_text(value: Any, text: str) -> None:
    """It reads as JSON writes it, a whole number without its point."""
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("declaration", "where"),
    [
        ({"type": "integer", "max_length": 5}, ("v", "max_length")),
        ({"type": "string", "minimum": 5}, ("v", "minimum")),
        ({"type": "boolean", "enum": [True]}, ("v", "enum")),
        ({"type": "string", "pattern": "("}, ("v", "pattern")),
        ({"type": "number", "minimum": 5, "maximum": 4}, ("v", "maximum")),
        ({"type": "string", "enum": ["a", 5]}, ("v", "enum", 1)),
        ({"type": "string", "enum": ["a"], "default": "b"}, ("v", "default")),
        ({"type": "string", "max_length": 2, "default": "abc"}, ("v", "default")),
        ({"type": "integer", "default": "5"}, ("v", "default")),
        ({"type": "boolean", "default": 1}, ("v", "default")),
        ({"type": "string", "pattern": "(a{50}){50}\\w{900}"}, ("v", "pattern")),
    ],
)
def test_a_declaration_that_contradicts_itself(declaration: dict[str, Any], where: tuple[Any, ...]) -> None:
    """Its place is the field that is wrong."""
    assert [pointer for pointer, *_ in find_declaration_problems({"v": Variable(**declaration)})] == [where]


@pytest.mark.parametrize("name", ["api_key", "auth_token"])
def test_a_variable_is_no_secret(name: str) -> None:
    """Creation rules seal these names."""
    (found,) = find_declaration_problems({name: Variable(type="string", default="x")})
    assert found[0] == (name,)
