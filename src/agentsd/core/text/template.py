r"""Templates: texts of a manifest with placeholders ``{{name}}``, parsed once and filled many times. Pure.

``\{{`` is a literal ``{{``. A value is put in as it is and never parsed: one that contains ``{{name}}`` stays
text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from agentsd.core.manifest.variables import NAME_PATTERN

_MARK = re.compile(r"\\\{\{|\{\{")
_PLACEHOLDER = re.compile(rf"\{{\{{[ \t]*({NAME_PATTERN})[ \t]*\}}\}}", re.ASCII)
_LITERAL = "{{"
_ESCAPED = r"\{{"


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """Place in a text that is neither a literal nor a placeholder of a known variable."""

    offset: int  # in characters
    token: str  # as it is in the text
    name: str | None = None  # of an unknown variable; None: not the form of a placeholder


class InvalidTemplate(ValueError):
    """Text that cannot be a template, with its first fault."""

    def __init__(self, fault: TemplateFault) -> None:
        super().__init__(f"a placeholder at character {fault.offset} is not known")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Template:
    """Parsed text: ``literals`` with one of ``names`` between each two."""

    literals: tuple[str, ...]
    names: tuple[str, ...] = ()

    def render(self, values: Mapping[str, str], encode: Callable[[str], str] | None = None) -> str:
        """Return the text with ``values``, which has every name; ``encode`` is applied to each value."""
        if not self.names:
            return self.literals[0]
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            value = values[name]
            parts += (value if encode is None else encode(value), literal)
        return "".join(parts)


def parse_template(text: str, known: Collection[str]) -> Template:
    """Parse ``text``, whose placeholders name ``known`` variables. Raises ``InvalidTemplate``."""
    literals: list[str] = []
    names: list[str] = []
    current = ""
    for part in _scan_text(text, known):
        if isinstance(part, TemplateFault):
            raise InvalidTemplate(part)
        if isinstance(part, str):
            current += part
        else:
            literals.append(current)
            names.append(part[1])
            current = ""
    return Template((*literals, current), tuple(names))


def find_template_faults(text: str, known: Collection[str]) -> Iterator[TemplateFault]:
    """Yield all faults of ``text``, in order."""
    return (part for part in _scan_text(text, known) if isinstance(part, TemplateFault))


def escape_template(text: str) -> str:
    """Return the template that renders to exactly ``text``."""
    return text.replace(_LITERAL, _ESCAPED)


def _scan_text(text: str, known: Collection[str]) -> Iterator[str | tuple[int, str] | TemplateFault]:
    """Yield literals, placeholders as (offset, name), and faults."""
    at = 0
    while (mark := _MARK.search(text, at)) is not None:
        yield text[at : mark.start()]
        start = mark.start()
        if mark[0] == _ESCAPED:
            yield _LITERAL
            at = mark.end()
            continue
        found = _PLACEHOLDER.match(text, start)
        if found is None:
            yield TemplateFault(start, _LITERAL)
            at = mark.end()
        else:
            name = found[1]
            yield (start, name) if name in known else TemplateFault(start, found[0], name)
            at = found.end()
    yield text[at:]
