"""Verdicts on agents, for a person and for a CI system. Values in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agentsd.core.text.render import Line, Span
from agentsd.services.checks import AgentCheckResult
from agentsd.services.probe import ProbeResult
from agentsd.services.verdict import AgentVerdict

_SHOWN = 300
"""Characters of an answer that are shown."""
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot contain (https://www.w3.org/TR/xml/#charsets)."""
_GOOD: Span = ("green", "  ✓ ")
_BAD: Span = ("bold red", "  ✗ ")


def format_verdicts(verdicts: Sequence[AgentVerdict]) -> Iterator[Line]:
    """Yield lines agent by agent: one for each test, and below a failed one the reason, and what to do."""
    for verdict in verdicts:
        yield (("bold", verdict.agent), ("dim", f"  {verdict.seconds:.1f} s"))
        if verdict.problem:
            yield _BAD, ("", verdict.problem)
            yield from _format_fix(verdict.fix)
        for finding in verdict.providers:
            yield from _format_finding(finding)
        for result in verdict.checks:
            yield from _format_result(result)
        if verdict.ok and not (verdict.providers or verdict.checks):
            yield (("dim", "    nothing to test"),)
    yield _format_summary(verdicts)


def _format_finding(finding: ProbeResult) -> Iterator[Line]:
    at: Span = ("", f"{finding.at} ({finding.provider}): {finding.message}")
    if finding.ok:
        yield _GOOD, at, ("dim", f"  {finding.seconds * 1000:.0f} ms")
        return
    yield _BAD, at, ("dim", f"  [{finding.reason}]")
    yield from _format_fix(finding.fix)


def _format_result(result: AgentCheckResult) -> Iterator[Line]:
    yield (
        _GOOD if result.ok else _BAD,
        ("", f"check: {_shorten_text(result.title)}"),
        ("dim", f"  {result.seconds:.1f} s"),
    )
    for failure in result.failures:
        yield ("", "      "), ("red", failure)
    if not result.ok and result.answer:
        yield ("dim", "      answer: "), ("", _shorten_text(result.answer))


def _format_fix(text: str) -> Iterator[Line]:
    if text:
        yield ("dim", "      → "), ("", text)


def _format_summary(verdicts: Sequence[AgentVerdict]) -> Line:
    bad = [verdict.agent for verdict in verdicts if not verdict.ok]
    if not bad:
        return (("green", f"✓ {len(verdicts)} agent{'' if len(verdicts) == 1 else 's'} tested, all passed"),)
    return (("bold red", f"✗ {len(bad)} of {len(verdicts)} failed: "), ("", ", ".join(bad)))


def format_junit(verdicts: Sequence[AgentVerdict]) -> str:
    """Return JUnit's XML for CI systems: a suite for each agent, a case for each provider and check."""
    root = Element("testsuites", name="agentsd test")
    for verdict in verdicts:
        cases = [*_iterate_cases(verdict)]
        failed = sum(bool(message) for _, _, message, _ in cases)
        suite = SubElement(
            root,
            "testsuite",
            name=verdict.agent,
            tests=str(len(cases)),
            failures=str(failed),
            time=f"{verdict.seconds:.3f}",
        )
        for name, seconds, message, detail in cases:
            case = SubElement(
                suite, "testcase", classname=verdict.agent, name=_clean_text(name), time=f"{seconds:.3f}"
            )
            if message:
                SubElement(case, "failure", message=_clean_text(message)).text = _clean_text(detail)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _iterate_cases(verdict: AgentVerdict) -> Iterator[tuple[str, float, str, str]]:
    """Yield (name, seconds, failure, detail); an empty failure is a pass."""
    if verdict.problem:
        yield "opens", verdict.seconds, verdict.problem, verdict.fix
    for one in verdict.providers:
        failure = "" if one.ok else f"{one.message} [{one.reason}]"
        yield f"{one.at} ({one.provider})", one.seconds, failure, one.fix
    for check in verdict.checks:
        detail = f"say: {check.say}\nanswer: {check.answer}"
        yield f"check: {check.title}", check.seconds, "; ".join(check.failures), detail


def _clean_text(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text)


def _shorten_text(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
