"""A page that stays open outlives what happens elsewhere, and says so."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.ui.conftest import NewSite, Visit
from tests.ui.opening import commit, opened, settled
from tests.ui.site import Site

ECHO = "llm: {provider: echo.local}\n"
NAME = "Ж" * 60 + "漢字" * 40 + "مرحبا " * 10
PHONE = {"width": 320, "height": 640}


async def test_an_agent_that_is_gone_is_said_to_be_gone(visit: Visit, site: Site) -> None:
    """The page goes on with another agent, and says so in words that stay, before anybody presses Delete."""
    page = await opened(visit, site, "fleeting.yaml", f"name: Fleeting\n{ECHO}")
    (site.agents / "fleeting.yaml").unlink()
    site.git("commit", "-q", "-a", "-m", "fleeting is gone")
    told = page.get_by_role("alert").filter(has_text="Fleeting (fleeting) is gone")
    await expect(told).to_contain_text("This page goes on with Helper (helper)")
    await expect(page.get_by_role("heading", level=1, name="Helper")).to_be_visible()
    await told.get_by_role("button", name="Dismiss").press("Enter")
    await expect(told).to_have_count(0)
    await expect(page.locator("main")).to_be_focused()


async def test_a_form_keeps_what_was_typed_for_an_agent_that_is_gone(visit: Visit, site: Site) -> None:
    """It is not offered to go back to what is not there."""
    commit(site, "vanishing.yaml", f"name: Vanishing\n{ECHO}")
    page = await visit("/ui/agents?q=vanishing")
    await expect(page.locator('tr[data-slug="vanishing"]')).to_be_visible()
    await page.goto(f"{site.url}/ui/edit?agent=vanishing")
    await page.get_by_role("textbox", name="Description").fill("typed here")
    (site.agents / "vanishing.yaml").unlink()
    site.git("commit", "-q", "-a", "-m", "vanishing is gone")
    await expect(
        page.get_by_role("alert").filter(has_text="This agent was deleted or renamed")
    ).to_be_visible()
    await expect(page.get_by_role("textbox", name="Description")).to_have_value("typed here")
    await expect(page.get_by_role("button", name="Go back to it")).to_have_count(0)


async def test_a_long_name_keeps_to_a_narrow_page(visit: Visit, site: Site) -> None:
    """200 letters of three scripts, and a long slug, on 320 px: nothing scrolls sideways."""
    path = "a/b/c/an-agent-whose-name-is-as-long-as-a-name-may-be"
    page = await opened(visit, site, f"{path}.yaml", f"name: {NAME[:200]}\n{ECHO}", viewport=PHONE)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(wide) <= 0
    for name in ("edit", "chat", "voice"):
        await page.goto(f"{site.url}/ui/{name}?agent={path.replace('/', '~')}")
        await expect(page.locator(".switcher-button")).to_contain_text("Ж")
        await settled(page)
        assert await page.evaluate(wide) <= 0, name
    assert (await page.title()).endswith("· Voicebot · agentsd")


@pytest.mark.soak
async def test_a_page_outlives_its_server(visit: Visit, new_site: NewSite) -> None:
    """A banner while it is away; once it is back, the list that failed is read by itself."""
    site = await new_site()
    page = await visit("/ui/agents", at=site)
    await expect(page.locator("#rows tr")).to_have_count(4)
    await site.process.stop()
    await expect(page.locator("#banners")).to_contain_text("The server cannot be reached")
    await page.get_by_role("searchbox", name="Search").fill("sal")
    await expect(page.locator("#trouble")).to_contain_text("cannot be reached")
    await site.home.start("up", "--port", str(urlsplit(site.url).port))
    await expect(page.locator("#banners")).to_be_empty()
    await expect(page.locator("#rows tr")).to_have_count(1)
    await expect(page.locator("#trouble")).to_be_empty()


async def test_what_changes_elsewhere_leaves_the_focus(visit: Visit, site: Site) -> None:
    """A button of a list that is drawn anew has the focus again."""
    page = await opened(visit, site, "steady.yaml", f"name: Steady\n{ECHO}")
    copy = page.get_by_role("button", name="Copy agents.d/steady.yaml:1")
    await copy.focus()
    commit(site, "steady.yaml", f"name: Steadier\n{ECHO}")
    await expect(page.locator("#values")).to_contain_text("Steadier")
    await expect(copy).to_be_focused()
