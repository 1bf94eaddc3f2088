"""Rules that a schema cannot express. Reads plain values only; needs no key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentsd.core.errors import SandboxError
from agentsd.core.manifest.checks import regex_problem, regex_weight
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.sections import providers_in
from agentsd.core.names import owner_of
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.engine_limits import CHOSEN, CONTEXT_HINT, EMBEDDED, EngineLimits
from agentsd.core.violations import Violation, did_you_mean, dotted
from agentsd.sandbox.limits import Limits
from agentsd.sandbox.shared import shared_sandbox

_INLINE_WEIGHT = 30
_LIMITS = Limits(cpu_seconds=2.0, wall_seconds=10.0)
"""For all regular expressions of one manifest."""


def beyond_schema(document: Document, limits: EngineLimits) -> Iterator[Violation]:
    """Yield everything that is wrong in the document itself, whatever other files contain."""
    yield from _spaces(document)
    yield from _contexts(document, limits)
    yield from _checks(document)


def _spaces(document: Document) -> Iterator[Violation]:
    """Check that all fallbacks of an embedding use its model: vectors of two models are not comparable."""
    embeddings = [(at, section) for at, section in providers_in(document.value) if at[0] == "embedding"]
    for pointer, section in embeddings[1:]:
        for name in ("provider", "model", "dimensions"):
            if section.get(name) != embeddings[0][1].get(name):
                message = f"{dotted((*pointer, name))}: vectors of another model cannot be compared"
                hint = f"a fallback of an embedding has the same {name}, at another address"
                yield document.violation((*pointer, name), "fallback-space", message, hint)


def _contexts(document: Document, limits: EngineLimits) -> Iterator[Violation]:
    """Check that an editor does not take memory beyond the operator's limit."""
    for pointer, section in providers_in(document.value):
        if section.get("provider") != EMBEDDED:
            continue
        tokens, parallel = (section.get(name, default) for name, default in CHOSEN)
        if not isinstance(tokens, int) or not isinstance(parallel, int):
            continue  # sealed: held to the bound at run time
        if problem := limits.check_context(tokens, parallel):
            where = (*pointer, next((name for name, _ in CHOSEN if name in section), "provider"))
            yield document.violation(where, "engine-context", f"{dotted(where)}: {problem}", CONTEXT_HINT)


def _checks(document: Document) -> Iterator[Violation]:
    sources = (document.value.get("rag") or {}).get("sources", [])
    checks = document.value.get("checks", ())
    yield from _regexes(document, checks)
    for index, check in enumerate(checks):
        cites = check.get("cites")
        if cites is not None and not is_sealed(cites) and cites not in sources:
            message = f"checks[{index}].cites: not one of this agent's sources"
            hint = did_you_mean(cites, sources) or "name one of rag.sources, as it stands there"
            yield document.violation(("checks", index, "cites"), "check-cites", message, hint)


def _regexes(document: Document, checks: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
    """Report the first invalid regular expression: to find another one too large may take long."""
    plain = {index: check["regex"] for index, check in enumerate(checks) if "regex" in check}
    plain = {index: pattern for index, pattern in plain.items() if not is_sealed(pattern)}
    found = _first_problem(list(plain.values()), owner_of(document.path))
    if found:
        index = list(plain)[found[0]]
        message = f"checks[{index}].regex: not a regular expression: {found[1]}"
        hint = "in YAML, put it in single quotes: '\\d+'"
        yield document.violation(("checks", index, "regex"), "check-regex", message, hint)


def _first_problem(patterns: Sequence[str], owner: str) -> tuple[int, str] | None:
    """Return place and problem of the first invalid regular expression. Reads heavy ones in a worker."""
    if sum(map(regex_weight, patterns)) <= _INLINE_WEIGHT:
        found = regex_problems(patterns)
    else:
        try:
            found = shared_sandbox().call(regex_problems, patterns, limits=_LIMITS, key=owner)
        except (SandboxError, OSError):
            return 0, "together with the others of this file it takes too long to read"
    place, problem = found or (0, "")
    known = isinstance(place, int) and 0 <= place < len(patterns) and isinstance(problem, str)
    return (place, problem) if known and problem else None


def regex_problems(patterns: Sequence[str]) -> list[Any]:
    """Return ``[place, problem]`` of the first invalid regular expression, or nothing."""
    told = ([place, regex_problem(pattern)] for place, pattern in enumerate(patterns))
    return next((one for one in told if one[1]), [])
