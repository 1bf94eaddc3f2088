"""Where nothing can be written: the answer says why and what to do, and nothing changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.e2e.checkout import Checkout
from tests.e2e.curl import Curl, Reply
from tests.e2e.processes import obey_modes

WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/api/agents", {"slug": "new", "name": "New"}),
    ("PUT", "/api/agents/writer", {"name": "New"}),
    ("PATCH", "/api/agents/writer", {"name": "New"}),
    ("DELETE", "/api/agents/writer", None),
    ("POST", "/api/agents/writer/set-default", None),
    ("POST", "/api/agents/writer/rollback", {"version": 1}),
)


async def all_refused(checkout: Checkout, url: str, status: int, code: str) -> list[Reply]:
    """Every write, refused alike; the files are as they were."""
    curl = Curl(url)
    replies = [await curl(*write) for write in WRITES]
    assert {(reply.status, reply.json["code"]) for reply in replies} == {(status, code)}, replies[0].text
    assert checkout.read() == checkout.files
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.litter() == []
    return replies


async def test_off(checkout: Checkout) -> None:
    """405, with the file that a person would edit instead."""
    _, url = await checkout.home.up("--write-back", "off")
    created, *others = await all_refused(checkout, url, 405, "read_only")
    assert created.json["file"] == "agents.d/new.yaml" or created.json["file"] == "agents.d/NAME.yaml"
    assert {reply.json["file"] for reply in others} == {"agents.d/writer.yaml"}
    assert "--write-back" in created.json["hint"]


@pytest.fixture
async def bound(checkout: Checkout, database_url: str) -> Checkout:
    """A synced clone whose next processes keep to the modes of files, root's too, and reach Postgres."""
    home = checkout.home
    home.env["AGENTSD_DATABASE_URL"] = database_url
    assert (await home.run("sync")).code == 0
    home.before = obey_modes
    host = str(conninfo_to_dict(database_url).get("host", ""))
    if host.startswith("/") and os.geteuid() == 0:  # another user's: root may open doors for itself
        Path(host).chmod(0o711)
        for one in Path(host).glob(".s.PGSQL.*[0-9]"):
            one.chmod(0o777)
    return checkout


async def test_a_folder_that_may_not_be_written(bound: Checkout, database_url: str) -> None:
    """405 says that this user has no right; once it has, the next write goes through."""
    home, checkout = bound.home, bound
    home.agents.chmod(0o555)
    try:
        serve, url = await home.serve(database_url, "--write-back", "files")
        replies = await all_refused(checkout, url, 405, "read_only")
        for reply in replies:
            assert reply.json["detail"].endswith("cannot be written: this user has no right to write into it")
            assert "edit the files in git, then sync" in reply.json["hint"]
    finally:
        home.agents.chmod(0o755)
    assert (await Curl(url)("PATCH", "/api/agents/writer", {"name": "New"})).status == 200
    assert "Traceback" not in (await serve.stop()).said


async def test_a_subfolder_that_may_not_be_written(bound: Checkout, database_url: str) -> None:
    """409 with the system's reason: the file is as it was, and the next write is not held up."""
    home, checkout = bound.home, bound
    folder = home.agents / "acme"
    folder.chmod(0o555)
    try:
        _, url = await home.serve(database_url, "--write-back", "files")
        curl = Curl(url)
        refused = await curl("PATCH", "/api/agents/acme~sales", {"name": "New"})
        assert (refused.status, refused.json["code"]) == (409, "conflict"), refused.text
        assert "Permission denied" in refused.json["detail"]
        assert (checkout.read(), checkout.litter()) == (checkout.files, [])
        assert (await curl("PATCH", "/api/agents/writer", {"name": "New"})).status == 200
    finally:
        folder.chmod(0o755)


async def test_a_folder_that_is_gone(checkout: Checkout) -> None:
    """405 while it is away; nothing is made in its place."""
    _, url = await checkout.home.up()
    aside = checkout.home.agents.rename(checkout.home.repo / "aside")
    curl = Curl(url)
    for write in WRITES:
        reply = await curl(*write)
        assert (reply.status, reply.json["code"]) == (405, "read_only"), reply.text
        assert reply.json["detail"].endswith("cannot be written: there is no such folder")
    assert not checkout.home.agents.exists()
    aside.rename(checkout.home.agents)
    assert (await curl("PATCH", "/api/agents/writer", {"name": "New"})).status == 200


@pytest.mark.parametrize("where", ["folder", "file"])
async def test_links_that_lead_out(checkout: Checkout, where: str) -> None:
    """Nothing is written outside the folder of manifests, whatever links somebody has committed."""
    outside = checkout.home.root / "outside"
    outside.mkdir()
    (outside / "a.yaml").write_text("name: A\nllm:\n  provider: echo.local\n")
    before = (outside / "a.yaml").read_bytes()
    if where == "folder":
        (checkout.home.agents / "evil").symlink_to(outside)
    else:
        (checkout.home.agents / "evil").mkdir()
        (checkout.home.agents / "evil" / "a.yaml").symlink_to(outside / "a.yaml")
    _, url = await checkout.home.up()
    curl = Curl(url)
    replies = [await curl("POST", "/api/agents", {"slug": f"evil/{name}", "name": "B"}) for name in "ab"]
    replies += [await curl("PATCH", "/api/agents/evil~a", {"name": "B"})]
    assert [path.name for path in outside.iterdir()] == ["a.yaml"], [reply.text for reply in replies]
    assert (outside / "a.yaml").read_bytes() == before
