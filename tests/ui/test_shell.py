"""What pages have in common: before their scripts came, in many windows, about agents that are not there."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.ui.conftest import Visit
from tests.ui.opening import commit
from tests.ui.site import Site
from tests.ui.test_accessibility import violations

WINDOWS = 7
"""One more than the connections that a browser has for a server."""

OUT_OF_SIGHT = "() => { Object.defineProperty(navigator, 'clipboard', { value: undefined }); }"
"""As over plain http: browsers offer the clipboard on safe pages only."""

LISTENING = """
() => document.addEventListener("copy", () => { window.copied = document.activeElement.value; })
"""


DEAD_WORKER = """
  const tick = setInterval;
  window.setInterval = (work, ms) => tick(work, ms === 5000 ? 300 : ms);
  window.SharedWorker = class { port = { postMessage() {}, close() {} }; };
"""


async def test_a_shared_worker_that_ended_is_replaced(visit: Visit, site: Site) -> None:
    """Browsers end one to save memory, and report it to nobody: the page then has a stream of its own."""
    page = await visit("/ui/agents", before=DEAD_WORKER)
    commit(site, "revived.yaml", "name: Revived\nllm: {provider: echo.local}\n")
    await expect(page.locator("#rows")).to_contain_text("Revived")


async def test_a_form_waits_for_its_scripts(site: Site, browser: Browser) -> None:
    """What is sent too early neither leaves the page nor ends it: the form works once the scripts came."""
    context = await browser.new_context()
    page = await context.new_page()
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    await page.route("**/js/pages/chat.js", hold)
    await page.goto(f"{site.url}/ui/chat?agent=helper", wait_until="commit")
    send = page.locator("#send")
    await expect(send).to_be_visible()
    await page.evaluate("document.getElementById('composer').requestSubmit()")
    await send.dispatch_event("click")
    assert await page.evaluate("document.getElementById('content').inert")
    while not waiting:
        await page.wait_for_timeout(10)
    await waiting[0].continue_()
    await page.get_by_label("Message").fill("good morning")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("log")).to_contain_text("Heard: good morning")
    await context.close()


async def test_scripts_that_do_not_come_are_reported(site: Site, browser: Browser) -> None:
    """Not a page that looks alive and is not."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.route("**/js/shell.js", lambda route: route.abort())
    await page.goto(f"{site.url}/ui/agents")
    await expect(page.get_by_text("could not be loaded")).to_be_visible()
    await context.close()


async def streams(page: Page, site: Site) -> float:
    """The event streams that the server has of all browsers."""
    told = await (await page.request.get(f"{site.url}/metrics")).text()
    found = re.search(r'^agentsd_http_streams\{kind="events"\} (\S+)$', told, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_windows_share_one_stream(site: Site, browser: Browser) -> None:
    """Seven of them work, where six streams would use up a browser's connections; all hear of a change."""
    context = await browser.new_context()
    pages = [await context.new_page() for _ in range(WINDOWS)]
    before = await streams(pages[0], site)
    for page in pages:
        await page.goto(f"{site.url}/ui/agents?owner=windows")
        await expect(page.locator("#count")).to_have_text("0 agents match")
    assert await streams(pages[0], site) <= before + 1
    site.home.write("windows/pane.yaml", "name: Pane\nllm: {provider: echo.local}\n")
    for page in pages:
        await expect(page.locator("#rows")).to_contain_text("Pane")
    await pages.pop(0).close()
    site.home.edit("windows/pane.yaml", "Pane", "Shutter")
    for page in pages:
        await expect(page.locator("#rows")).to_contain_text("Shutter")
    await context.close()


@pytest.mark.parametrize("name", ["agent", "edit", "chat", "voice", "speech", "transcription"])
async def test_a_missing_agent_is_not_replaced_by_another(visit: Visit, name: str) -> None:
    """Neither shown nor talked to: the page reports it, and names what was meant."""
    page = await visit(f"/ui/{name}?agent=acme~saless")
    await expect(page.get_by_role("heading", level=1)).to_have_text("No such agent")
    await expect(page.locator("#content")).to_contain_text("acme/saless")
    for button in ("Edit", "Delete", "Send", "Start a call", "Speak"):
        await expect(page.get_by_role("button", name=button, exact=True)).to_have_count(0)
    assert "agent=acme~saless" in page.url
    link = page.get_by_role("link", name="Sales")
    assert await link.get_attribute("href") == f"/ui/{name}?agent=acme~sales"
    if name == "agent":
        assert await violations(page) == []
        await link.click()
        await expect(page.locator("#marks")).to_contain_text("acme/sales")


async def test_copying_works_over_plain_http(visit: Visit) -> None:
    """Where browsers offer no clipboard, also in a dialog, and the button confirms it."""
    page = await visit("/ui/agent?agent=helper", before=f"({OUT_OF_SIGHT})(); ({LISTENING})();")
    await page.get_by_role("button", name="Copy agents.d/helper.yaml:1").first.click()
    await expect(page.locator("#toasts")).to_contain_text("Copied: agents.d/helper.yaml:1:")
    assert await page.evaluate("window.copied") == "agents.d/helper.yaml:1:1"
