"""Every page on every kind of server: with and without sign-in, write-back, Postgres."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from playwright.async_api import expect

from agentsd.web.ui.pages import PAGES
from tests.ui.conftest import NewSite, Visit
from tests.ui.opening import settled
from tests.ui.site import KEY
from tests.ui.test_signing_in import ADMIN, ANN, users
from tests.ui.test_sync_page import away


@dataclass(frozen=True)
class Kind:
    """How the server is started, and who visits it."""

    arguments: tuple[str, ...] = ()
    token: str = ""
    writes: bool = True
    postgres: bool = True


KINDS = {
    "open, writes commits": Kind(("--write-back", "git")),
    "open, read-only": Kind(("--write-back", "off"), writes=False),
    "an admin signed in": Kind(token=ADMIN),
    "a viewer signed in": Kind(token=ANN, writes=False),
    "an admin, read-only": Kind(("--write-back", "off"), token=ADMIN, writes=False),
    "Postgres is away": Kind(writes=False, postgres=False),
}

IN_CI = ("Postgres is away",)
"""Sites of the other kinds are visited by other tests, if not every page of each."""


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in IN_CI else pytest.mark.soak) for one in KINDS]
)
async def test_every_page_works(visit: Visit, new_site: NewSite, postgres_url: str, name: str) -> None:
    """Each has its heading and content and no error; an agent answers; only who may write is offered to."""
    kind = KINDS[name]
    site = await new_site(*kind.arguments, **({"prepare": users} if kind.token else {}))
    page = await visit("/ui/chat?agent=acme~sales", at=site)
    if kind.token:
        await page.get_by_label("Token").fill(kind.token)
        await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".switcher-button")).to_contain_text("Sales")
    with nullcontext() if kind.postgres else away(postgres_url, site.home.env["AGENTSD_DATABASE_URL"]):
        await page.get_by_label("Message").fill("hello")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log")).to_contain_text("This is a test.")
        for one in PAGES:
            await page.goto(f"{site.url}/ui/{one.name}?agent=acme~sales")
            await expect(page.locator(".switcher-button")).to_contain_text("Sales")
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await settled(page)
            await expect(page.locator("main")).to_have_text(re.compile(r"[\s\S]{60}"), use_inner_text=True)
            assert KEY not in await page.content(), one.name
            if kind.postgres:
                assert await page.locator("main .notice.bad").all_inner_texts() == [], one.name
            else:
                await expect(page.locator("#banners")).to_contain_text("Postgres is away")
        await page.goto(f"{site.url}/ui/agent?agent=acme~sales")
        edit = page.get_by_role("main").get_by_role("link", name="Edit", exact=True)
        if kind.postgres:
            await expect(edit).to_have_count(1 if kind.writes else 0)
