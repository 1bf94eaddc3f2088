"""Checks of behaviour: the answers that a manifest requires of its agent, and their evaluation. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Annotated

from pydantic import Field
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from agentsd.core.manifest.strict_model import StrictModel

_COUNT = re.compile(r"[{,](\d{1,9})\}", re.ASCII)

REGEX_MAX = 1000
"""Characters of a regular expression: longer ones are slow to compile."""


class Check(StrictModel):
    """Question to the agent, with everything that its answer must satisfy."""

    say: Annotated[
        str, Field(min_length=1, description="What the agent is told.", examples=["When do you open?"])
    ]
    name: Annotated[
        str | None,
        Field(min_length=1, description="What reports call it; `say` where absent.", examples=["opening"]),
    ] = None
    variables: Annotated[
        dict[str, str | int | float | bool] | None,
        Field(
            max_length=50,
            description="Values of the agent's variables in this conversation.",
            examples=[{"customer_name": "Ada"}],
        ),
    ] = None
    contains: Annotated[
        str | None,
        Field(min_length=1, description="Text in the answer, in any case.", examples=["9 am"]),
    ] = None
    regex: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A regular expression (RE2's: without look-around) that is found in the answer.",
            examples=["(?i)nine|9"],
        ),
    ] = None
    cites: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A file of `rag.sources` that the answer is given to quote.",
            examples=["knowledge/faq.md"],
        ),
    ] = None
    max_seconds: Annotated[
        float | None,
        Field(gt=0, le=600, description="Longest wait for the whole answer, in seconds.", examples=[5]),
    ] = None

    @property
    def title(self) -> str:
        """Return the name of the check in reports."""
        return self.name or self.say

    def failures(self, answer: str, sources: Sequence[str], seconds: float) -> Iterator[str]:
        """Yield what ``answer`` lacks; nothing if it passes.

        ``sources``: paths that the answer's citations name.
        """
        if not answer.strip():
            yield "the answer is empty"
        if self.contains is not None and self.contains.casefold() not in answer.casefold():
            yield f"the answer does not contain {self.contains!r}"
        if self.regex is not None and not find_pattern(self.regex, answer):
            yield f"the answer does not match /{self.regex}/"
        if self.cites is not None and not any(_is_source(path, self.cites) for path in sources):
            cited = ", ".join(dict.fromkeys(sources)) or "nothing"
            yield f"expected a citation of {self.cites}; found {cited}"
        if self.max_seconds is not None and seconds > self.max_seconds:
            yield f"it took {seconds:.1f} s, longer than {self.max_seconds:g} s"


def check_regex(pattern: str) -> str | None:
    """Return why ``pattern`` is not a valid regular expression; None if it is valid."""
    if len(pattern) > REGEX_MAX:
        return f"it is longer than {REGEX_MAX} characters"
    try:
        _compile_search(pattern)
    except SchemaError as error:
        return str(error).rstrip().splitlines()[-1].rpartition("rror: ")[2].rstrip(".") or "it cannot be read"
    return None


def estimate_regex_cost(pattern: str) -> int:
    """Return a rough estimate of the time to compile ``pattern``; 1 is about a millisecond.

    A word class has hundreds of ranges, and a counted repetition copies what it repeats.
    """
    classes = sum(map(pattern.count, ("\\", "[", ".")))
    repeated = prod(max(int(one), 1) for one in _COUNT.findall(pattern)[:20])
    return (classes + len(pattern) // 100 + 1) * repeated


def find_pattern(pattern: str, text: str) -> bool:
    """Return whether ``pattern`` is found in ``text``; False for one that is not valid."""
    try:
        _compile_search(pattern).validate_python(text)
    except (SchemaError, ValidationError):  # a sealed one is seen here for the first time
        return False
    return True


@lru_cache(maxsize=256)
def _compile_search(pattern: str) -> SchemaValidator:
    """Compile ``pattern`` with pydantic's engine, which takes linear time.

    Python's engine may take years and block every other request.
    """
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _is_source(path: str, name: str) -> bool:
    """Return whether a citation's ``path`` is the source ``name``.

    Citations name sources from the top of the tree, manifests from the owner's folder.
    """
    return path == name or path.endswith(f"/{name}")
