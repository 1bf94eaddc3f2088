"""Write-back to git, with a person's repository: one commit for each edit, and nothing else of it."""

from __future__ import annotations

import pytest

from tests.e2e.checkout import Checkout
from tests.e2e.client import Client
from tests.e2e.curl import Curl
from tests.files.git.repositories import HOOKS

EDIT = {"description": "Edited"}
LINES = {"support.yaml": (("description: First-line support by voice and chat",), ("description: Edited",))}


def plant_hooks(checkout: Checkout) -> None:
    """Every hook there is, each of which would leave a mark and then refuse."""
    for name in HOOKS:
        hook = checkout.home.repo / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{checkout.home.root / 'hook-ran'}'\nexit 1\n")
        hook.chmod(0o755)


async def test_one_commit_with_one_edit(checkout: Checkout) -> None:
    """By the user, with a trailer and the template's message; what else is staged or dirty stays so.

    No hook runs, and no ``SOPS_*`` or ``AGENTSD_*`` variable reaches a filter of the repository.
    """
    home = checkout.home
    plant_hooks(checkout)
    spy = home.root / "spied"
    checkout.git("config", "filter.spy.clean", f"env >> '{spy}'; cat")
    (home.repo / ".git/info").mkdir(exist_ok=True)
    (home.repo / ".git/info/attributes").write_text("support.yaml filter=spy\n")
    home.edit("inhouse.yaml", "description:", "description: Staged,")
    checkout.git("add", "agents.d/inhouse.yaml")
    spy.unlink(missing_ok=True)  # a person's git may see a person's environment
    home.edit("writer.yaml", "name: Writer", "name: Dirty")
    before = checkout.head("%H")
    _, url = await home.up("--write-back", "git", AGENTSD_GIT_MESSAGE="config({slug}): {action} by {actor}")
    curl = Curl(url)
    reply = await curl("PATCH", "/api/agents/support", EDIT)
    assert reply.status == 200, reply.everything

    assert checkout.changed(committed=True) == LINES
    assert reply.write_back["commit"] == checkout.head("%H")
    assert checkout.head("%P") == before
    assert checkout.head("%s") == "config(support): update by default/local"
    assert checkout.head("%an <%ae>") == "default/local <local@default.agentsd.invalid>"
    assert checkout.head("%(trailers)") == "Agentsd-User: default/local"
    status = checkout.git("status", "--porcelain").splitlines()
    assert status == ["M  agents.d/inhouse.yaml", " M agents.d/writer.yaml"]
    assert not (home.root / "hook-ran").exists()
    assert "PATH=" in spy.read_text()
    assert not [line for line in spy.read_text().splitlines() if line.startswith(("SOPS_", "AGENTSD_"))]

    same = await curl("PATCH", "/api/agents/support", EDIT)
    assert (same.write_back["commit"], same.write_back["message"]) == (None, "nothing to change")
    dirty = await curl("PATCH", "/api/agents/writer", EDIT)
    staged = await curl("DELETE", "/api/agents/inhouse")
    for refused in (dirty, staged):
        assert (refused.status, refused.json["code"]) == (409, "conflict")
        assert "has uncommitted changes" in refused.json["detail"]
    assert checkout.git("status", "--porcelain").splitlines() == status
    assert checkout.litter() == []


async def test_push(checkout: Checkout) -> None:
    """The commit is at the remote with the reply; a push that fails leaves it here, and says so and why."""
    _, url = await checkout.home.up("--write-back", "git", AGENTSD_GIT_PUSH="true")
    curl = Curl(url)
    reply = await curl("PATCH", "/api/agents/support", EDIT)
    assert (reply.status, reply.write_back["pushed"], reply.write_back["message"]) == (200, True, "")
    there = checkout.git("--git-dir", str(checkout.origin), "rev-parse", "main").strip()
    assert there == reply.write_back["commit"] == checkout.head("%H")

    away = checkout.origin.rename(checkout.origin.with_name("away.git"))
    reply = await curl("PATCH", "/api/agents/support", {"description": "Not pushed"})
    told = reply.write_back
    assert (reply.status, reply.json["description"], told["pushed"]) == (200, "Not pushed", False)
    assert told["message"].startswith("the remote 'origin' cannot be pushed to")
    assert told["message"].endswith("; for the reason, run: git push origin")
    assert told["commit"] == checkout.head("%H") != there

    away.rename(checkout.origin)
    reply = await curl("PATCH", "/api/agents/support", {"description": "Both"})
    assert reply.write_back["pushed"] is True
    assert checkout.git("rev-list", "--count", f"{there}..origin/main").strip() == "2"


async def test_a_branch_for_each_edit(checkout: Checkout, client: Client) -> None:
    """202: the edit waits on a branch of its own, pushed; nothing here changes until it is merged."""
    home = checkout.home
    template = "agentsd/{slug}-{stamp}"
    _, url = await home.up("--write-back", "git", AGENTSD_GIT_BRANCH=template, AGENTSD_GIT_PUSH="true")
    curl = Curl(url)
    before = checkout.read(), checkout.head("%H"), (await curl("GET", "/api/agents/support")).settled
    patched = await curl("PATCH", "/api/agents/support", EDIT)
    assert patched.status == 202, patched.everything
    told = patched.write_back
    assert (told["pushed"], told["message"]) == (True, f"the edit waits on the branch {told['branch']}")
    assert (patched.json["slug"], patched.json["version"]) == ("support", None)
    created = await curl(
        "POST", "/api/agents", {"slug": "acme/new", "llm_provider_config": {"provider": "echo.local"}}
    )
    assert created.status == 202, created.everything
    deleted = await curl("DELETE", "/api/agents/writer")
    assert (deleted.status, deleted.json["deleted"]) == (202, False)

    now = checkout.read(), checkout.head("%H"), (await curl("GET", "/api/agents/support")).settled
    assert now == before
    assert checkout.git("status", "--porcelain") == ""
    branches = [reply.write_back["branch"] for reply in (patched, created, deleted)]
    assert [name.rpartition("-")[0] for name in branches] == [
        "agentsd/support",
        "agentsd/acme/new",
        "agentsd/writer",
    ]
    for reply, letter in ((patched, "M"), (created, "A"), (deleted, "D")):
        name = reply.write_back["branch"]
        listed = checkout.git("show", "--format=%P", "--name-status", f"origin/{name}").split()
        assert listed == [before[1], letter, f"agents.d/{reply.write_back['path']}"]
        assert checkout.head("%H", name) == reply.write_back["commit"]

    checkout.git("merge", "-q", branches[0])
    await client.serves(url, 2)
    assert (await curl("GET", "/api/agents/support")).json["description"] == "Edited"

    home.edit("offline.yaml", "name:", "# half done\nname:")
    refused = await curl("PATCH", "/api/agents/offline", EDIT)
    assert (refused.status, refused.json["code"]) == (409, "conflict"), "an edit carries nobody's draft along"


@pytest.mark.parametrize("trouble", ["no repository", "no branch"])
async def test_git_that_cannot_commit_is_told_at_the_start(checkout: Checkout, trouble: str) -> None:
    """``up --write-back git`` says what is missing and what to do, instead of refusing every edit later."""
    if trouble == "no branch":
        checkout.git("checkout", "-q", "--detach")
    else:
        (checkout.home.repo / ".git").rename(checkout.home.root / "elsewhere")
    done = await checkout.home.run("up", "--port", "0", "--write-back", "git")
    assert done.code == 2, done.said
    assert "error: edits cannot become commits: " in done.err
    assert "→ " in done.err
