"""axe-core on every page, light and dark, wide and phone: no serious or critical violation."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.async_api import Page, ViewportSize, expect

from agentsd.web.ui.pages import PAGES
from tests.ui.conftest import Visit
from tests.ui.opening import settled

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
PHONE: ViewportSize = {"width": 390, "height": 844}


async def violations(page: Page) -> list[str]:
    """What is wrong, and where."""
    await page.evaluate(AXE)
    told = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {one['help']}\n  {node['html']}\n  {node['failureSummary']}"
        for one in told["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("name", [page.name for page in PAGES])
async def test_a_page_is_accessible(visit: Visit, name: str) -> None:
    """As it stands once it is loaded: light and wide, dark and on a phone, where nothing scrolls sideways."""
    page = await visit(f"/ui/{name}?agent=clerk", color_scheme="light")
    await settled(page)
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)
    assert await violations(page) == []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(wide) <= 0


async def test_the_switcher_is_accessible(visit: Visit) -> None:
    """Open, with agents in it."""
    page = await visit("/ui/chat")
    await page.locator(".switcher-button").click()
    await expect(page.get_by_role("option").first).to_be_visible()
    assert await violations(page) == []
