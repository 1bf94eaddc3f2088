"""A plan as a comment: readable, bounded, and nothing in it gets out of where it stands."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.plan.plan import Plan, Quarantined, make_plan
from agentsd.core.text.plan_markdown import MAX_BYTES, format_plan_markdown
from agentsd.core.violations import Violation
from tests.core.text.test_render import HOSTILE, everything
from tests.core.values import EMPTY, desired, manifest, sealed, stored_of, with_values

FENCED = re.compile(r"^(`{3,})diff\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`[^`\n]*`")
HTML = re.compile(r"</?details( open)?>|</?summary>|</?code>|<br>")


def test_a_plan_reads_well() -> None:
    """A line that counts, what is wrong, a table; then each change, folded."""
    head, *details = format_plan_markdown(everything(), prefix="agents.d/").split("\n<details")
    assert head.splitlines() == [
        "### agentsd plan: 1 to create, 1 to update, 1 to rename, 1 drifted, to heal, 1 owner to change; "
        "0 unchanged, 1 quarantined",
        "",
        "**1 file would be quarantined**, and `agentsd sync` would refuse to apply anything.",
        "",
        "Not pruned while a file is quarantined: `gone`",
        "",
        "| | agent | what changes | file |",
        "| --- | --- | --- | --- |",
        "| `!` **quarantined** | | `not YAML` | `agents.d/bad.yaml:1:1` |",
        "| `±` heal | `drift` |  | `agents.d/drift.yaml` |",
        "| `~` update | `edit` | `system_prompt`, `llm.api_key` **resealed** | `agents.d/edit.yaml` |",
        "| `+` create | `new` |  | `agents.d/new.yaml` |",
        "| `→` rename | `from → to` | the name only | `agents.d/to.yaml` |",
        "| `+` create | `owner acme` |  | `agents.d/acme/_user.yaml` |",
    ]
    assert details[1].splitlines() == [
        "><summary>update <code>edit</code>: 2 fields</summary>",
        "",
        '- `system_prompt`: `"old"` → `"new"`',
        "- `llm.api_key`: _resealed_",
        "",
        "</details>",
    ]


def test_a_prompt_is_compared_line_by_line() -> None:
    """As a diff, in a fence that its own fences do not end."""
    old, new = manifest("a.yaml", "You are.\n```\nKind.\n"), manifest("a.yaml", "You are.\n````\nKind.\n")
    text = format_plan_markdown(make_plan(desired(new), with_values(stored_of(old), old), source="main"))
    assert "\n`````diff\n@@ -1,3 +1,3 @@\n You are.\n-```\n+````\n Kind.\n`````\n" in text


def _changed(text: str) -> Plan:
    old, new = manifest("a.yaml", "old", name="x"), manifest("a.yaml", text, name=text, llm={text: text})
    bad = Quarantined(text, (Violation(text, "x", text, text),))
    stored = with_values(stored_of(old), old)
    decided = make_plan(desired(new, manifest(f"{text}.yaml", text)), stored, source="main")
    return Plan("main", decided.changes, decided.users, 0, (bad,), (text,))


@given(st.text(max_size=60) | st.text(alphabet="`~|\\<>\n -#[]@é", max_size=60) | st.just(HOSTILE))
def test_it_cannot_be_broken_out_of(text: str) -> None:
    """Whatever a branch says stays in its code span, its fence or its escaped HTML."""
    page = format_plan_markdown(_changed(text), prefix="agents.d/")
    assert page.startswith("### agentsd plan: ")
    outside = SPAN.sub("", FENCED.sub("", page))
    told = HTML.sub("", re.sub(r"<code>[^<>\n]*</code>", "", outside))
    assert not re.search(r"[`<>@\[\]]", told)
    assert page.count("<details") == page.count("</details>")
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in table)
    assert all(line.isprintable() for line in page.splitlines())


def test_a_secret_is_only_named() -> None:
    """No ciphertext, and none of the values around it."""
    old = manifest("a.yaml", llm={"provider": "groq.com", "api_key": sealed("b2xk")})
    new = manifest("a.yaml", llm={"provider": "groq.com", "api_key": sealed("bmV3")})
    text = format_plan_markdown(make_plan(desired(new), with_values(stored_of(old), old), source="main"))
    text += format_plan_markdown(make_plan(desired(new), EMPTY, source="main"))
    assert "ENC[" not in text
    assert "- `llm.api_key`: _secret added_" in text


def test_a_comment_fits() -> None:
    """A thousand agents with pages of prompt: what fits is whole, and the rest is counted."""
    pages = "\n".join(f"é{number} " * 90 for number in range(150))
    many = [manifest(f"agent-{number}.yaml", pages) for number in range(1200)]
    text = format_plan_markdown(make_plan(desired(*many), EMPTY, source="main"))
    assert len(text.encode()) <= MAX_BYTES
    assert re.search(r"\n… and [0-9]+ more\.\n", text)
    assert re.search(r"\n[0-9]+ more are omitted here", text)
    assert text.count("<details") == text.count("</details>") > 0
