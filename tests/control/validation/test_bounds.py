"""What a manifest makes of work is bounded: violations, sources, regular expressions."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from agentsd.cli.compose.factories import load_settings, make_checker
from agentsd.control.validation import semantics as meaning
from agentsd.control.validation.checker import CheckResult
from agentsd.core.manifest.checks import check_regex
from agentsd.core.violations import VIOLATIONS_MAX, suggest_word
from agentsd.files.tree import NO_SIGNATURE, SourceFile, TreeContext
from agentsd.sandbox.limits import CallLimits

HEAD = "id: 0b6e3c0e-2f0c-4a57-9b51-6d3f1d1f7a01\nname: A\nllm:\n  provider: echo.local\n"


def _file(path: str, text: str) -> SourceFile:
    data = text.encode()
    return SourceFile(path, NO_SIGNATURE, sha256(data).digest(), data)


def _checked(text: str, *beside: SourceFile) -> CheckResult:
    checker = make_checker(load_settings(path=Path("agents.d")))
    return checker.check(_file("acme/a.yaml", text), TreeContext({one.path: one for one in beside}))


def test_a_file_has_so_many_violations_and_a_closing_line() -> None:
    """A megabyte of unknown keys took 3 to 8 s, and as many lines."""
    found = _checked(HEAD + "".join(f"k{n}: 1\n" for n in range(4000))).violations
    assert [one.code for one in found] == ["unknown-key"] * VIOLATIONS_MAX + ["too-many"]
    assert found[0].line == 5


def test_missing_sources_are_reported_as_far_as_somebody_reads() -> None:
    sources = "".join(f"  - gone-{n}.md\n" for n in range(5000))
    texts = [_file(f"acme/there-{n}.md", "x") for n in range(2000)]
    found = _checked(f"{HEAD}rag:\n  sources:\n{sources}", *texts).violations
    assert len(found) == VIOLATIONS_MAX + 1
    assert {one.code for one in found[:-1]} == {"attachment-missing"}
    assert found[-1].code == "too-many"


def test_an_agent_has_so_many_sources() -> None:
    sources = "".join("  - a.md\n" for _ in range(1001))
    found = _checked(f"{HEAD}rag:\n  sources:\n{sources}", _file("acme/a.md", "x")).violations
    assert "too-many" in {one.code for one in found}


def test_heavy_regular_expressions_are_read_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take a tenth of a second; what they take together is bounded."""
    heavy = "".join(f"  - {{say: hi, regex: '\\w{{40}}{n}'}}\n" for n in range(3))
    assert not _checked(f"{HEAD}checks:\n{heavy}").violations
    found = _checked(f"{HEAD}checks:\n{heavy}  - {{say: hi, regex: '\\w{{400}}('}}\n").violations
    assert [(one.code, one.field) for one in found] == [("check-regex", "checks[3].regex")]
    assert check_regex("\\w{400}(") in found[0].message  # type: ignore[operator]
    monkeypatch.setattr(meaning, "_REGEX_LIMITS", CallLimits(input_bytes=1))
    found = _checked(f"{HEAD}checks:\n{heavy}").violations
    assert [one.code for one in found] == ["check-regex"]
    assert "takes too long" in found[0].message


def test_a_hint_is_not_looked_for_among_long_names() -> None:
    """To compare two names takes the square of their length."""
    assert suggest_word("x" * 100_000, ["y" * 100_000]) == ""
    assert suggest_word("modle", ["x" * 100_000, "model"]) == "did you mean 'model'?"
