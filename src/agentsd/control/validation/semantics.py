"""Rules that a schema cannot express. Reads plain values only; needs no key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentsd.core.errors import SandboxError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.checks import check_regex, estimate_regex_cost
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.sections import iter_providers
from agentsd.core.manifest.tool_checks import find_tool_problems
from agentsd.core.names import derive_owner
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.engine_limits import CONTEXT_FIELDS, CONTEXT_HINT, EMBEDDED_PROVIDER, EngineLimits
from agentsd.core.trust.request_options import find_option_problems
from agentsd.core.violations import Violation, format_pointer, suggest_word
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.shared import get_shared_sandbox

_INLINE_WEIGHT = 30
_REGEX_LIMITS = CallLimits(cpu_seconds=2.0, wall_seconds=10.0)
"""For all regular expressions of one manifest."""


def check_semantics(document: Document, limits: EngineLimits) -> Iterator[Violation]:
    """Yield everything that is wrong in the document itself, whatever other files contain."""
    yield from _check_vector_spaces(document)
    yield from _check_contexts(document, limits)
    yield from _check_request_options(document)
    yield from _check_checks_field(document)
    yield from _check_tools(document)


def check_completeness(document: Document) -> Iterator[Violation]:
    """Warn about an agent that can do nothing: its file may be the first half of one."""
    if any(section in document.value for section in SECTIONS):
        return
    what = f"no section of {', '.join(SECTIONS)}" + ("" if "name" in document.value else ", and no name")
    hint = "is the file whole? an agent answers by its sections"
    yield Violation(document.path, "incomplete", what, hint, severity="warning")


def _check_vector_spaces(document: Document) -> Iterator[Violation]:
    """Check that all fallbacks of an embedding use its model: vectors of two models are not comparable."""
    embeddings = [(at, section) for at, section in iter_providers(document.value) if at[0] == "embedding"]
    for pointer, section in embeddings[1:]:
        for name in ("provider", "model", "dimensions"):
            if section.get(name) != embeddings[0][1].get(name):
                message = f"{format_pointer((*pointer, name))}: vectors of another model cannot be compared"
                hint = f"a fallback of an embedding has the same {name}, at another address"
                yield document.violation((*pointer, name), "fallback-space", message, hint)


def _check_contexts(document: Document, limits: EngineLimits) -> Iterator[Violation]:
    """Check that an editor does not take memory beyond the operator's limit."""
    for pointer, section in iter_providers(document.value):
        if section.get("provider") != EMBEDDED_PROVIDER:
            continue
        tokens, parallel = (section.get(name, default) for name, default in CONTEXT_FIELDS)
        if not isinstance(tokens, int) or not isinstance(parallel, int):
            continue  # sealed: held to the bound at run time
        if problem := limits.check_context(tokens, parallel):
            where = (*pointer, next((name for name, _ in CONTEXT_FIELDS if name in section), "provider"))
            yield document.violation(
                where, "engine-context", f"{format_pointer(where)}: {problem}", CONTEXT_HINT
            )


def _check_request_options(document: Document) -> Iterator[Violation]:
    """Check that additions to a vendor's requests contain no credential, and nothing that is set here."""
    for pointer, section in iter_providers(document.value):
        for field, key, problem, hint in find_option_problems(section):
            where = (*pointer, field, key)
            message = f"{format_pointer(where)}: {problem}"
            yield document.violation(where, "request-option", message, hint, key=True)


def _check_tools(document: Document) -> Iterator[Violation]:
    """Check names, placeholders, schemas and headers of the tools."""
    if "tools" not in document.value:
        return
    for problem in find_tool_problems(document.value["tools"], document.value.get("variables") or ()):
        where = ("tools", *problem.pointer)
        message = f"{format_pointer(where)}: {problem.message}"
        yield document.violation(where, problem.code, message, problem.hint, key=problem.key)


def _check_checks_field(document: Document) -> Iterator[Violation]:
    sources = (document.value.get("rag") or {}).get("sources", [])
    checks = document.value.get("checks", ())
    yield from _check_regexes(document, checks)
    for index, check in enumerate(checks):
        cites = check.get("cites")
        if cites is not None and not is_sealed(cites) and cites not in sources:
            message = f"checks[{index}].cites: not one of this agent's sources"
            hint = suggest_word(cites, sources) or "name one of rag.sources, as it stands there"
            yield document.violation(("checks", index, "cites"), "check-cites", message, hint)


def _check_regexes(document: Document, checks: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
    """Report the first invalid regular expression: to find another one too large may take long."""
    plain = {index: check["regex"] for index, check in enumerate(checks) if "regex" in check}
    plain = {index: pattern for index, pattern in plain.items() if not is_sealed(pattern)}
    found = _find_first_problem(list(plain.values()), derive_owner(document.path))
    if found:
        index = list(plain)[found[0]]
        message = f"checks[{index}].regex: not a regular expression: {found[1]}"
        hint = "in YAML, put it in single quotes: '\\d+'"
        yield document.violation(("checks", index, "regex"), "check-regex", message, hint)


def _find_first_problem(patterns: Sequence[str], owner: str) -> tuple[int, str] | None:
    """Return place and problem of the first invalid regular expression. Reads heavy ones in a worker."""
    if sum(map(estimate_regex_cost, patterns)) <= _INLINE_WEIGHT:
        found = find_regex_problem(patterns)
    else:
        try:
            found = get_shared_sandbox().call(find_regex_problem, patterns, limits=_REGEX_LIMITS, key=owner)
        except (SandboxError, OSError):
            return 0, "together with the others of this file it takes too long to read"
    place, problem = found or (0, "")
    known = isinstance(place, int) and 0 <= place < len(patterns) and isinstance(problem, str)
    return (place, problem) if known and problem else None


def find_regex_problem(patterns: Sequence[str]) -> list[Any]:
    """Return ``[place, problem]`` of the first invalid regular expression, or nothing."""
    told = ([place, check_regex(pattern)] for place, pattern in enumerate(patterns))
    return next((one for one in told if one[1]), [])
