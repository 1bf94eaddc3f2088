"""Usage, activity and status as people see them: of turns on a vendor that answers, then refuses the key."""

from __future__ import annotations

import os

from playwright.async_api import Page, expect

from tests.ui.conftest import Visit
from tests.ui.site import Site, Vendors
from tests.ui.test_accessibility import violations
from tests.vendors.base import Fault

AGENT = """\
name: Metered
llm:
  provider: openai-compatible
  model: m
  api_url: {url}
  price: {{input: 1000, output: 2000}}
"""
CHAT = {"model": "metered/one", "messages": [{"role": "user", "content": "Hello"}]}


async def chat(page: Page, site: Site, status: int) -> None:
    """One turn, as a program asks for it."""
    reply = await page.request.post(f"{site.url}/v1/chat/completions", data=CHAT)
    assert reply.status == status


async def shoot(page: Page, name: str) -> None:
    """A picture for whoever wants to look: AGENTSD_SHOTS names the folder."""
    if folder := os.environ.get("AGENTSD_SHOTS"):
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)


async def test_usage_and_failures_are_shown(visit: Visit, site: Site, vendors: Vendors) -> None:
    """Plots and table of what it cost; a vendor that refuses the key is seen, with the field to edit."""
    site.home.write("metered/one.yaml", AGENT.format(url=vendors.llm.url))
    page = await visit("/ui/agents?owner=metered")
    row = page.locator('tr[data-slug="metered/one"]')
    await expect(row).to_contain_text("Untested")
    await chat(page, site, 200)
    await expect(row).to_contain_text("Ready")
    vendors.llm.fault = Fault.UNAUTHORIZED
    try:
        await chat(page, site, 502)
        await expect(row).to_contain_text("Failing")
        await expect(row).to_contain_text("it does not accept the key")
        await expect(row.locator("code").filter(has_text="llm.api_key")).to_be_visible()
        await shoot(page, "agents")
        await row.locator("a.name").click()
        await expect(page.locator("#marks")).to_contain_text("Failing")
        await expect(page.locator("#activity")).to_contain_text("1: 1 × ProviderAuthError")
        await expect(page.locator("#activity .errors a")).to_have_text("Edit llm.api_key")
        assert await violations(page) == []
        await shoot(page, "agent")
        await page.locator(".switcher-button").click()
        await page.get_by_role("combobox", name="Find an agent").fill("metered")
        await expect(page.locator("#agents-list")).to_contain_text("Failing")
    finally:
        vendors.llm.fault = None
    await chat(page, site, 200)
    await expect(page.locator("#marks")).to_contain_text("Ready")
    for scheme, options in (
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": PHONE}),
    ):
        page = await visit("/ui/usage?agent=metered/one&by=provider", **options)
        table = page.get_by_role("table", name="Usage")
        await expect(table.locator("tbody")).to_contain_text("openai-compatible", timeout=20_000)
        await expect(table.locator("tfoot")).to_contain_text("$0.02")
        await expect(page.locator("svg.plot")).to_have_count(2)
        assert await violations(page) == []
        await shoot(page, f"usage-{scheme}")
    await page.get_by_label("By", exact=True).select_option("agent")
    await expect(page.get_by_role("table", name="Usage")).to_contain_text("metered/one")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download as CSV").click()
    assert (await download.value).suggested_filename.endswith(".csv")
    (site.agents / "metered/one.yaml").unlink()


PHONE = {"width": 390, "height": 844}
