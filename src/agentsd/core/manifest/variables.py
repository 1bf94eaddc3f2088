"""Section ``variables`` of a manifest: typed, bounded values that a session brings. Pure.

A value is a string, a number or a boolean of JSON, checked against its declaration. No message quotes a
value; names are quoted where they are declared or plain words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from agentsd.core.manifest.checks import check_regex, estimate_regex_cost, find_pattern
from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.names import quote_word
from agentsd.core.violations import Pointer, suggest_word

Value = str | int | float | bool

NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
"""Pattern of a variable's name."""

VARIABLES_MAX = 50
"""Variables of one agent."""

LENGTH_DEFAULT, LENGTH_MAX = 1000, 20_000
"""Characters of a text: where the manifest has no bound, and the largest bound."""

PATTERNS_COST_MAX = 500
"""Cost of compiling all patterns of an agent, by ``estimate_regex_cost``."""

RESERVED_NAMES = ("api_key", "auth_token")
"""Names of secrets, which creation rules seal: a variable is never one."""

_NAME = re.compile(NAME_PATTERN, re.ASCII)
_PLAIN = {"x-plain": True}
_OF_STRINGS = ("max_length", "pattern")
_OF_NUMBERS = ("minimum", "maximum")


class Variable(StrictModel):
    """Value that a session brings, by its name in ``{{name}}``."""

    type: Annotated[
        Literal["string", "number", "integer", "boolean"],
        Field(description="Type of the value.", examples=["string"], json_schema_extra=_PLAIN),
    ]
    description: Annotated[
        str,
        Field(max_length=500, description="What it is, for people.", examples=["The caller's first name."]),
    ] = ""
    default: Annotated[
        str | int | float | bool | None,
        Field(
            description="Value of a session that brings none; without it a session must bring one.",
            examples=["there"],
            json_schema_extra=_PLAIN,
        ),
    ] = None
    max_length: Annotated[
        int | None,
        Field(
            ge=1,
            le=LENGTH_MAX,
            description=f"Longest text, in characters; {LENGTH_DEFAULT} where absent.",
            examples=[80],
            json_schema_extra=_PLAIN,
        ),
    ] = None
    enum: Annotated[
        list[str | int | float | bool] | None,
        Field(
            min_length=1,
            max_length=200,
            description="The only values that it may have.",
            examples=[["free", "pro"]],
            json_schema_extra=_PLAIN,
        ),
    ] = None
    pattern: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A regular expression (RE2's: without look-around) that is found in the text; `^` "
            "and `$` hold it to the whole.",
            examples=["^[A-Z]{2}-[0-9]{6}$"],
            json_schema_extra=_PLAIN,
        ),
    ] = None
    minimum: Annotated[
        float | None,
        Field(description="Smallest number.", examples=[0], json_schema_extra=_PLAIN),
    ] = None
    maximum: Annotated[
        float | None,
        Field(description="Largest number.", examples=[100], json_schema_extra=_PLAIN),
    ] = None

    @property
    def required(self) -> bool:
        """Return whether a session must bring a value."""
        return self.default is None


@dataclass(frozen=True, slots=True)
class VariableProblem:
    """Problem of one variable, or of all values (``name`` empty)."""

    name: str  # plain, or empty
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class CheckedValues:
    """Values of a session that are right, and what is wrong with the others."""

    values: Mapping[str, Value]
    problems: tuple[VariableProblem, ...] = ()


def check_values(declared: Mapping[str, Variable], given: object) -> CheckedValues:
    """Return the values of ``given`` that fit their declarations, and a problem for each other one."""
    if not isinstance(given, Mapping):
        return CheckedValues(
            {}, (VariableProblem("", "the variables must be an object of names and values"),)
        )
    if len(given) > VARIABLES_MAX:
        return CheckedValues({}, (VariableProblem("", f"more than {VARIABLES_MAX} variables"),))
    values: dict[str, Value] = {}
    problems: list[VariableProblem] = []
    for name, value in given.items():
        variable = declared.get(name)
        if variable is None:
            problems.append(_report_unknown(name, declared))
        elif (wrong := find_value_problem(variable, value)) is not None:
            problems.append(VariableProblem(name, f"the variable {name} {wrong}"))
        else:
            values[name] = value
    return CheckedValues(values, tuple(problems))


def find_missing(declared: Mapping[str, Variable], values: Mapping[str, Value]) -> Iterator[VariableProblem]:
    """Yield a problem for each variable without a value and without a default."""
    for name, variable in declared.items():
        if variable.required and name not in values:
            hint = "send it in variables, or give it a default in the manifest"
            yield VariableProblem(name, f"the variable {name} has no value", hint)


def find_value_problem(variable: Variable, value: object) -> str | None:
    """Return what is wrong with a value, without quoting it; None if it fits."""
    if not _is_of_type(variable.type, value):
        return f"must be {_TYPE_NAMES[variable.type]}"
    if variable.enum is not None and not any(_is_same(value, one) for one in variable.enum):
        return f"must be one of the {len(variable.enum)} values that the agent declares"
    if isinstance(value, str):
        return _find_text_problem(variable, value)
    return _find_number_problem(variable, value)


def format_value(value: Value) -> str:
    """Return a value as it stands in a text: ``true``, ``3``, ``2.5``, or the text itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def find_declaration_problems(declared: Mapping[str, Variable]) -> Iterator[tuple[Pointer, str, str]]:
    """Yield (pointer below ``variables``, problem, hint) for each declaration that contradicts itself."""
    cost = 0
    for name, variable in declared.items():
        cost += estimate_regex_cost(variable.pattern) if variable.pattern else 0
        if cost > PATTERNS_COST_MAX:
            yield (name, "pattern"), "the patterns take too long to compile", "shorten their repetitions"
            return
        for field, problem, hint in _find_contradictions(name, variable):
            yield (name, *field), problem, hint


def _find_contradictions(name: str, variable: Variable) -> Iterator[tuple[Pointer, str, str]]:
    if not _NAME.fullmatch(name):
        hint = "a name has letters of ASCII, digits and '_', 64 at most, and begins with no digit"
        yield (), "this is not a name of a variable", hint
    if name in RESERVED_NAMES:
        yield (), "this is the name of a secret, which a variable never is", "give it another name"
    foreign = {"string": _OF_NUMBERS, "number": _OF_STRINGS, "integer": _OF_STRINGS}
    wrong = [
        field
        for field in foreign.get(variable.type, (*_OF_NUMBERS, *_OF_STRINGS, "enum"))
        if getattr(variable, field) is not None
    ]
    for field in wrong:
        yield (field,), f"a variable of the type {variable.type} has no {field}", "remove it"
    if not wrong:
        yield from _find_bound_problems(variable)


def _find_bound_problems(variable: Variable) -> Iterator[tuple[Pointer, str, str]]:
    low, high, correct = variable.minimum, variable.maximum, "correct it, or what contradicts it"
    if variable.pattern is not None and (wrong := check_regex(variable.pattern)):
        yield ("pattern",), f"not a regular expression: {wrong}", "in YAML, put it in single quotes: '^\\d+$'"
    elif low is not None and high is not None and low > high:
        yield ("maximum",), "the maximum is less than the minimum", "exchange them"
    else:
        bare = variable.model_copy(update={"enum": None})
        for index, one in enumerate(variable.enum or ()):
            if problem := find_value_problem(bare, one):
                yield ("enum", index), f"this value {problem}", correct
        if not variable.required and (problem := find_value_problem(variable, variable.default)):
            yield ("default",), f"the default {problem}", correct


def _report_unknown(name: object, declared: Mapping[str, Variable]) -> VariableProblem:
    word = quote_word(name, "")
    shown = f" {word}" if word else ""
    if not declared:
        return VariableProblem(word, f"this agent has no variable{shown}: it declares none", "leave it out")
    hint = suggest_word(word, list(declared)) if word else ""
    return VariableProblem(
        word, f"this agent has no variable{shown}", hint or f"known: {', '.join(declared)}"
    )


def _is_of_type(kind: str, value: object) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int)
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_same(value: object, one: object) -> bool:
    """Return whether two values are the same in JSON: ``true`` is not 1."""
    return value == one and isinstance(value, bool) == isinstance(one, bool)


def _find_text_problem(variable: Variable, value: str) -> str | None:
    most = variable.max_length or LENGTH_DEFAULT
    if len(value) > most:
        return f"is longer than {most} characters"
    if variable.pattern is not None and not find_pattern(variable.pattern, value):
        return "does not have the form that the agent declares"
    return None


def _find_number_problem(variable: Variable, value: Any) -> str | None:
    if variable.minimum is not None and value < variable.minimum:
        return f"is less than {variable.minimum:g}"
    if variable.maximum is not None and value > variable.maximum:
        return f"is more than {variable.maximum:g}"
    return None


_TYPE_NAMES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
