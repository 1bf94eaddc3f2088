"""What is shown of an edit: as git has it, without a secret in any form that YAML knows."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from agentsd.control.writeback.delivery import Delivery, EditPlan, EditPreview, GitOptions
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.preview import make_diff, make_preview_text
from agentsd.core.access import LOCAL
from agentsd.core.secret import is_secret_name
from agentsd.files.git.repository import GitRefused
from tests.files.git.repositories import git, new_place

CANARY = "canary-5e1b-secret"
SEAL = "ENC[AES256_GCM,data:q83v,iv:q83v,tag:q83v,type:str]"
SOPS = f"sops:\n  # theirs\n  age:\n    - recipient: age1x\n  mac: {SEAL}\n  lastmodified: x\n"

PLAIN = {
    "plain": f"llm:\n  api_key: {CANARY}\n",
    "quoted": f"llm:\n  'api_key': '{CANARY}'\n",
    "escaped": f'llm:\n  "api\\u005fkey": "\\x63{CANARY[1:]}"\n',
    "block": f"llm:\n  api_key: |-\n    {CANARY}\n  model: m\n",
    "folded": f"llm:\n  api_key: >\n    {CANARY}\n    {CANARY}\n",
    "two lines": f"llm:\n  api_key: {CANARY}\n    {CANARY}\n",
    "flow": f"llm: {{api_key: {CANARY}, model: m}}\n",
    "json": f'{{"llm": {{"api_key": "{CANARY}"}}}}',
    "explicit": f"llm:\n  ? api_key\n  : {CANARY}\n",
    "list": f"llm:\n  fallback:\n    - password: {CANARY}\n    - token: [{CANARY}]\n",
    "mapping": f"llm:\n  credentials:\n    a: {{b: {CANARY}}}\n",
    "no seal": f"llm:\n  api_key: ENC[{CANARY}]\n",
    "half a seal": f"llm:\n  api_key: ENC[AES256_GCM,{CANARY}]\n",
    "as if left to a person": f"llm:\n  api_key: 'ENC[sealed by: agentsd edit x] {CANARY}'\n",
}


def preview(before: str | None, after: str | None) -> EditPreview:
    """Of an edit of one file."""
    edit = FileEdit("a.yaml", *(None if text is None else text.encode() for text in (before, after)))
    return EditPreview(EditPlan("update", uuid4(), "a", "a.yaml", (edit,)), "files")


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_no_plain_secret_shows(text: str) -> None:
    """Whether it comes, goes, or stays beside what changes."""
    more = text.replace("{", '{"name": "A", ', 1) if text.startswith("{") else f"name: A\n{text}"
    for before, after in ((None, text), (text, None), (text, more), (text, "name: A\n")):
        one = preview(before, after)
        shown = make_diff(one, "d", is_secret_name) + make_preview_text(one, is_secret_name)
        assert CANARY not in shown
        assert "name" in shown or None in (before, after)


def test_seals_are_short_and_their_own_lines_left_out() -> None:
    """A comment's seal, too; wherever the block stands, and also where nothing but the block changes."""
    old = f"name: A\n#{SEAL}\nllm:\n  api_key: {SEAL}\n{SOPS}"
    one = preview(old, old.replace("A\n", "B\n").replace("lastmodified: x", "lastmodified: y"))
    assert make_diff(one, "d", is_secret_name) == (
        "--- a/d/a.yaml\n+++ b/d/a.yaml\n@@ -1,4 +1,4 @@\n-name: A\n+name: B\n #ENC[…]\n llm:\n"
        "   api_key: ENC[…]\n # the seal's own lines change, too\n"
    )
    assert make_preview_text(one, is_secret_name) == (
        "name: B\n#ENC[…]\nllm:\n  api_key: ENC[…]\n# sops: (the seal's own lines are not shown)\n"
    )
    rotated = make_diff(preview(old, old.replace("age1x", "age1y")), "d", is_secret_name)
    assert rotated == "--- a/d/a.yaml\n+++ b/d/a.yaml\n # the seal's own lines change, too\n"
    first = preview(f"{SOPS}name: A\n", f"{SOPS}name: B\n")
    assert "sops" not in make_diff(first, "d", is_secret_name)


def test_a_secret_that_becomes_another_is_said_to() -> None:
    """Both are masked, so no line differs."""
    told = make_diff(preview(PLAIN["plain"], PLAIN["plain"].replace("5e1b", "0000")), "d", is_secret_name)
    assert told == "--- a/d/a.yaml\n+++ b/d/a.yaml\n # what changes is not shown: it is secret\n"


async def test_a_branch_is_told_by_its_name(tmp_path: Path) -> None:
    """Without the stamp, which is new each time; and none has to be checked out."""
    place = new_place(tmp_path)
    git(place.top, "checkout", "-q", "--detach")
    edit = FileEdit("support.yaml", b"name: Sales\n", b"name: X\n")
    decided = EditPlan("update", uuid4(), "support", "support.yaml", (edit,))
    options = GitOptions(branch="agentsd/{slug}-{stamp}", message="{action} {slug} ({stamp})")
    told = await Delivery(place.folder, options).preview(LOCAL, decided, "git")
    assert told.branch == "agentsd/support-…"
    assert told.message is not None
    assert told.message.startswith("update support (…)\n\nAgentsd-User: ")
    with pytest.raises(GitRefused, match="no branch"):
        await Delivery(place.folder, GitOptions()).preview(LOCAL, decided, "git")
