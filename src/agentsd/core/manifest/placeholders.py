"""Placeholders in the texts of a manifest's tools: ``{x}`` is an argument, ``{{x}}`` a variable. Pure.

``\\{`` is a literal brace. A placeholder stands only where a template is allowed; what is put in there is
never parsed again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

PARAMETER_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
"""Pattern of the name of a parameter and of a variable."""

_TOKEN = re.compile(
    rf"(?P<escaped>\\[{{}}])|\{{\{{(?P<variable>{PARAMETER_PATTERN})\}}\}}|\{{(?P<argument>{PARAMETER_PATTERN})\}}"
    r"|(?P<stray>[{}])"
)


class InvalidTemplate(ValueError):
    """Error of a text with a brace that belongs to no placeholder."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Place in a template for a value."""

    kind: Literal["argument", "variable"]
    name: str


TemplateParts = tuple[str | Placeholder, ...]


def parse_template(text: str) -> TemplateParts:
    """Return the literal texts and placeholders of ``text``, in order. Raises ``InvalidTemplate``."""
    parts: list[str | Placeholder] = []
    literal, at = "", 0
    for found in _TOKEN.finditer(text):
        literal += text[at : found.start()]
        at = found.end()
        if found["stray"]:
            raise InvalidTemplate("a brace without its placeholder")
        if found["escaped"]:
            literal += found["escaped"][1]
            continue
        if literal:
            parts.append(literal)
            literal = ""
        kind: Literal["argument", "variable"] = "variable" if found["variable"] else "argument"
        parts.append(Placeholder(kind, found["variable"] or found["argument"]))
    literal += text[at:]
    return (*parts, literal) if literal else tuple(parts)


def find_placeholders(parts: TemplateParts) -> Iterator[Placeholder]:
    """Yield the placeholders of a template."""
    yield from (part for part in parts if isinstance(part, Placeholder))


def fill_template(
    parts: TemplateParts,
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
    convert: Callable[[Any], str],
) -> str:
    """Return the text with each placeholder's value, as ``convert`` writes it. Raises ``KeyError``."""
    return "".join(
        part
        if isinstance(part, str)
        else convert((arguments if part.kind == "argument" else variables)[part.name])
        for part in parts
    )
