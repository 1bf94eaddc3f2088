"""axe-core on every page, light and dark, wide and phone: no serious or critical violation."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page, expect

from agentsd.web.ui.pages import PAGES
from tests.ui.conftest import Visit

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark phone": {"color_scheme": "dark", **PHONE},
}


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


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", [page.name for page in PAGES])
async def test_a_page_is_accessible(visit: Visit, name: str, look: str) -> None:
    """As it stands once it is loaded."""
    page = await visit(f"/ui/{name}?agent=clerk", **LOOKS[look])
    await page.wait_for_load_state("networkidle")
    assert await violations(page) == []


@pytest.mark.parametrize("look", LOOKS)
async def test_the_switcher_is_accessible(visit: Visit, look: str) -> None:
    """Open, with agents in it."""
    page = await visit("/ui/chat", **LOOKS[look])
    await page.locator(".switcher-button").click()
    await expect(page.get_by_role("option").first).to_be_visible()
    assert await violations(page) == []


async def test_no_page_is_wider_than_a_phone(visit: Visit) -> None:
    """Nothing has to be scrolled sideways."""
    page = await visit("/ui/chat", **PHONE)
    for one in PAGES:
        await page.goto(page.url.replace("/ui/chat", f"/ui/{one.name}"))
        await page.wait_for_selector(".switcher-button")
        wide = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, one.name
        await page.goto(page.url.replace(f"/ui/{one.name}", "/ui/chat"))
