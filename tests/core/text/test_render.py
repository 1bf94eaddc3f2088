"""Plans and violations as text: readable, and never a way in for what a manifest or a file name holds."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.plan.plan import Plan, StoredState, make_plan
from agentsd.core.text.render import (
    count_operations,
    format_plan,
    format_violations,
    plan_to_json,
    summarise_plan,
    violation_to_json,
    violations_to_github,
    violations_to_sarif,
)
from agentsd.core.violations import Violation, format_pointer, sort_violations, suggest_word
from tests.core.values import (
    EMPTY,
    desired,
    edited,
    manifest,
    sealed,
    stored_of,
    sync,
    user,
    with_values,
)

ID = "11111111-1111-4111-8111-111111111111"
HOSTILE = "a`b|c <img src=x> **d** [e](f)\n## g\r\x1b[31m \u202e @team"


def text_of(planned: Plan) -> str:
    return "\n".join("".join(text for _, text in line) for line in format_plan(planned))


def everything() -> Plan:
    """One of each operation, a quarantined file and a row that is held back for it."""
    before = [
        manifest("edit.yaml", "old", llm={"api_key": sealed("b2xk")}),
        manifest("from.yaml", id=ID),
        manifest("drift.yaml"),
    ]
    stored = with_values(stored_of(*before, manifest("gone.yaml")), *before)
    stored = edited(stored, stored.agents[before[2].id], drifted=True)
    after = [
        manifest("new.yaml"),
        manifest("edit.yaml", "new", llm={"api_key": sealed("bmV3")}),
        manifest("to.yaml", id=ID),
        manifest("drift.yaml"),
    ]
    users = [user("acme/_user.yaml", "a@b.example")]
    return make_plan(desired(*after, users=users, bad=["bad.yaml"]), stored, source="main")


def test_a_plan_reads_well() -> None:
    """One line an agent, one a field, and what was not done, with the reason."""
    assert text_of(everything()).splitlines() == [
        "  ± drift  drift.yaml",
        "      its row was edited in the database; the file wins",
        "  ~ edit  edit.yaml",
        '      system_prompt  "old" → "new"',
        "      llm.api_key  resealed",
        "  + new  new.yaml",
        "  → from → to  to.yaml",
        "  + owner acme  acme/_user.yaml",
        "  ! bad.yaml  quarantined: its last good version stays",
        "      1:1 not YAML",
        "  1 not pruned while a file is quarantined: gone",
    ]


def test_a_summary_counts() -> None:
    """What changes, then what does not."""
    assert summarise_plan(everything()) == (
        "1 to create, 1 to update, 1 to rename, 1 drifted, to heal, 1 owner to change; "
        "0 unchanged, 1 quarantined"
    )
    assert summarise_plan(make_plan(desired(), EMPTY, source="main")) == "no changes; 0 unchanged"
    assert count_operations(everything())["rename"] == 1


def test_the_json_of_a_plan() -> None:
    """It is JSON, and names operation, field and old name."""
    body = json.loads(json.dumps(plan_to_json(everything())))
    by_slug = {change["slug"]: change for change in body["changes"]}
    assert by_slug["to"]["old_slug"] == "from"
    assert by_slug["edit"]["fields"][1] == {
        "operation": "change",
        "field": "llm.api_key",
        "secret": "resealed",
    }
    assert body["summary"]["heal"] == 1
    assert body["held_back"] == ["gone"]
    assert not body["empty"]


def hostile_plan(text: str) -> Plan:
    old, new = manifest("a.yaml", "old"), manifest("a.yaml", text)
    bad = Violation(text, "x", text, text)
    decided = make_plan(desired(new, bad=["b.yaml"]), with_values(stored_of(old), old), source="main")
    quarantined = [type(decided.quarantined[0])(text, (bad,))]
    return Plan("main", decided.changes, (), 0, tuple(quarantined), (text,))


@given(st.text(max_size=40) | st.just(HOSTILE))
def test_a_terminal_is_not_driven_by_a_value(text: str) -> None:
    """Control sequences and direction marks in a value are shown, not obeyed."""
    change = text_of(hostile_plan(text)).split("  ! ")[0]
    assert all(line.isprintable() for line in change.split("\n"))


def test_long_values_are_cut() -> None:
    """A prompt of pages is one line."""
    old, new = manifest("a.yaml", "x"), manifest("a.yaml", "y" * 500)
    decided = make_plan(desired(new), with_values(stored_of(old), old), source="main")
    assert max(map(len, text_of(decided).splitlines())) < 120


WRONG = Violation("acme/a b.yaml", "null-value", "llm: null is no value", "remove it", 3, 5, ("llm", 0))
WARNING = Violation("b.yaml", "id-missing", "no id", severity="warning")


def test_violations_on_a_terminal() -> None:
    """file:line:column, what is wrong, its name, and what to do."""
    lines = ["".join(text for _, text in line) for line in format_violations([WRONG, WARNING], "agents.d/")]
    assert lines == [
        "agents.d/acme/a b.yaml:3:5 error llm: null is no value [null-value]",
        "    → remove it",
        "agents.d/b.yaml:1:1 warning no id [id-missing]",
    ]


def test_violations_as_json() -> None:
    """All fields, the pointer as people read it."""
    assert violation_to_json(WRONG) == {
        "path": "acme/a b.yaml",
        "line": 3,
        "column": 5,
        "code": "null-value",
        "severity": "error",
        "field": "llm[0]",
        "message": "llm: null is no value",
        "hint": "remove it",
    }


def test_github_commands() -> None:
    """One command a line."""
    assert violations_to_github([WRONG], "agents.d/") == (
        "::error file=agents.d/acme/a b.yaml,line=3,col=5,title=null-value::"
        "llm: null is no value. remove it\n"
    )


@given(st.text(max_size=40) | st.just("x::error file=a,b%\r\n::set-env name=A::B"))
def test_github_commands_cannot_be_injected(text: str) -> None:
    """A path or a message is data: no line, property or command of its own."""
    output = violations_to_github([Violation(text, "x", text, text)])
    assert output.count("\n") == 1
    assert "\r" not in output
    head, _, _ = output.removeprefix("::error ").partition("::")
    assert re.fullmatch(r"file=[^:,]*,line=1,col=1,title=x", head)


def test_sarif_has_its_shape() -> None:
    """Version, driver, rules, and for each result a rule, a level, a text and a place with a valid URI."""
    (run,) = violations_to_sarif([WRONG, WARNING], "1.0", "agents.d/")["runs"]
    assert run["tool"]["driver"]["rules"] == [{"id": "id-missing"}, {"id": "null-value"}]
    first, second = run["results"]
    assert (first["ruleId"], first["level"], second["level"]) == ("null-value", "error", "warning")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "agents.d/acme/a%20b.yaml"
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    assert first["message"]["text"] == "llm: null is no value. remove it"


@pytest.mark.parametrize(
    ("pointer", "text"), [((), ""), (("a",), "a"), (("rag", "sources", 0), "rag.sources[0]"), ((0,), "[0]")]
)
def test_pointers_as_people_read_them(pointer: tuple[str | int, ...], text: str) -> None:
    """Keys by dots, indices in brackets."""
    assert format_pointer(pointer) == text


def test_did_you_mean() -> None:
    """The nearest known word, or nothing."""
    assert suggest_word("grok.com", ["groq.com", "openai.com"]) == "did you mean 'groq.com'?"
    assert suggest_word("zzz", ["groq.com"]) == ""


def test_violations_in_order() -> None:
    """By file and place, each once."""
    later = Violation("a.yaml", "x", "x", line=10)
    first = Violation("a.yaml", "x", "x", line=9)
    assert sort_violations([later, WARNING, first, later]) == (first, later, WARNING)


def test_owners_that_follow_their_agents_are_no_news() -> None:
    """An owner without a file comes with its first agent: it is not shown, and counted only when alone."""
    decided, stored = sync(EMPTY, desired(manifest("acme/a.yaml")))
    assert "owner" not in text_of(decided)
    alone: StoredState = edited(stored, stored.users["acme"], source="main")
    gone = make_plan(desired(), edited(alone, next(iter(alone.agents.values())), source="x"), source="main")
    assert summarise_plan(gone) == "no changes; 0 unchanged"
