"""The switcher, which is on every page."""

from __future__ import annotations

from playwright.async_api import Route, expect

from tests.ui.conftest import Visit
from tests.ui.site import Site


async def test_switching_keeps_the_page(visit: Visit) -> None:
    """Another agent by keyboard alone: the address names it, and the page was not loaded again."""
    page = await visit("/ui/chat")
    await page.evaluate("window.untouched = true")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("librar")
    await page.keyboard.press("Enter")  # faster than any list: what was typed counts
    await expect(page.locator(".switcher-button")).to_contain_text("Librarian")
    assert page.url.endswith("agent=librarian")
    assert await page.evaluate("window.untouched") is True


async def test_the_choice_is_remembered_and_shared(visit: Visit) -> None:
    """An address with an agent wins; without one, the last choice of this browser."""
    page = await visit("/ui/chat?agent=clerk")
    await expect(page.locator(".switcher-button")).to_contain_text("Clerk")
    await page.goto(page.url.partition("?")[0])
    await expect(page.locator(".switcher-button")).to_contain_text("Clerk")


async def test_it_is_live(visit: Visit, site: Site) -> None:
    """A file that is edited on disk changes the name in the page, without a reload."""
    site.home.write("passing.yaml", "name: Before\nllm: {provider: echo.local}\n")
    page = await visit("/ui/agents")
    await page.goto(f"{site.url}/ui/agents")
    await page.locator(".switcher-button").click()
    await page.keyboard.type("passing")
    await page.get_by_role("option", name="Before").click()
    site.home.edit("passing.yaml", "Before", "After")
    await expect(page.locator(".switcher-button")).to_contain_text("After")


async def test_a_change_while_an_agent_is_read_is_not_missed(visit: Visit, site: Site) -> None:
    """Of an agent that changes between its reading and its reply, the newer state is shown in the end."""
    site.home.write("hasty.yaml", "name: Before\nllm: {provider: echo.local}\n")
    page = await visit("/ui/chat")

    async def late(route: Route) -> None:
        old = await route.fetch()
        site.home.edit("hasty.yaml", "Before", "After")
        newer = page.request.get(f"{site.url}/api/agents/hasty")
        while (await (await newer).json())["name"] == "Before":
            newer = page.request.get(f"{site.url}/api/agents/hasty")
        await route.fulfill(response=old)

    await page.route("**/api/agents/hasty", late, times=1)
    await page.locator(".switcher-button").click()
    await page.keyboard.type("hasty")
    await page.get_by_role("option", name="Before").click()
    await expect(page.locator(".switcher-button")).to_contain_text("After")
