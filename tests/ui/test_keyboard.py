"""By keyboard alone: every step is a key, and the focus is always somewhere that can be seen."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.ui.conftest import Visit
from tests.ui.site import Site

FARTHEST = 60
"""No control is more presses of Tab away than so many."""

UNSEEN = """() => {
  const at = document.activeElement;
  const marked = (one) => one && (getComputedStyle(one).outlineStyle !== "none" || marked(one.parentElement));
  const box = at.getBoundingClientRect();
  const inside = box.width > 1 && box.right > 0 && box.left < innerWidth;
  return at === document.body || (marked(at) && inside) ? null : at.outerHTML;
}"""
"""The element that has the focus, if nothing shows that; null if it is seen."""


async def tab_to(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """Press Tab until ``wanted`` has the focus; wherever it is on the way, that can be seen."""
    await expect(wanted).to_be_visible()
    for _ in range(FARTHEST):
        await page.keyboard.press(key)
        assert await page.evaluate(UNSEEN) is None
        if await wanted.evaluate("(one) => one === document.activeElement"):
            return
    raise AssertionError(f"Tab never comes to {wanted}")


async def skip(page: Page) -> None:
    """Past the menu, by the first thing on the page."""
    await tab_to(page, page.get_by_role("link", name="Skip to the content"))
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def press(page: Page, wanted: Locator) -> None:
    """Go there and press it."""
    await tab_to(page, wanted)
    await page.keyboard.press("Enter")


async def switch(page: Page, name: str) -> None:
    """Ctrl+K, part of a name, Enter."""
    await page.keyboard.press("Control+k")
    await page.keyboard.type(name)
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.locator(".switcher-button")).to_contain_text(name)


async def test_an_agents_whole_life_by_keyboard(visit: Visit, site: Site) -> None:
    """It is made in the form, talked to, left for another, suspended, and deleted with its typed name."""
    page = await visit("/ui/agents")
    await skip(page)
    await press(page, page.get_by_role("link", name="New agent"))
    await _create(page)
    await press(page, page.get_by_role("navigation", name="Talk").get_by_role("link", name="Chat"))
    await _chat(page)
    await press(page, page.get_by_role("navigation", name="Pages").get_by_role("link", name="Agents"))
    await tab_to(page, page.get_by_role("searchbox", name="Search"))
    await page.keyboard.type("keyed")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await press(page, page.locator("#rows").get_by_role("link", name="Keyed"))
    await _suspend_and_delete(page)
    await expect(page.locator("#outcome")).to_contain_text("Keyed is deleted")
    assert not (site.agents / "keyed.yaml").exists()


async def _create(page: Page) -> None:
    await skip(page)
    await tab_to(page, page.get_by_label("Name", exact=True))
    await page.keyboard.type("Keyed")
    await tab_to(page, page.get_by_role("group", name="Large language model").get_by_role("combobox"))
    await page.keyboard.type("echo")
    await press(page, page.get_by_role("button", name="Review and save"))
    await expect(page.get_by_role("dialog").get_by_role("group", name="Changes")).to_be_focused()
    await press(page, page.get_by_role("dialog").get_by_role("button", name="Save"))
    await expect(page.get_by_role("heading", level=1, name="Keyed")).to_be_visible()


async def _chat(page: Page) -> None:
    question = page.get_by_label("Message")
    await expect(question).to_be_focused()
    await page.keyboard.type("Hello")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("article", name="Answer of keyed")).to_contain_text("Hello")
    await switch(page, "Helper")
    await expect(question).to_be_focused()  # where it was before Ctrl+K
    await page.keyboard.type("And now?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log").get_by_text("now answered by helper")).to_be_visible()
    await expect(page.get_by_role("article", name="Answer of helper")).to_contain_text("Heard: And now?")


async def _suspend_and_delete(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    await press(page, page.get_by_role("button", name="Suspend"))
    await expect(dialog).to_contain_text("active: false")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Suspend")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("active: false")
    await press(page, dialog.get_by_role("button", name="Suspend"))
    await expect(page.locator("#outcome")).to_be_focused()
    await press(page, page.get_by_role("button", name="Dismiss"))
    await tab_to(page, page.get_by_role("button", name="Delete"), "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("-name: Keyed")
    await tab_to(page, dialog.get_by_role("textbox"))
    await page.keyboard.type("keyed")
    await page.keyboard.press("Enter")
    await expect(page.locator("#outcome")).to_be_focused()


async def test_a_conversation_is_renamed_by_keyboard(visit: Visit) -> None:
    """What is typed takes the place of the old title, and the focus is where it was, in the list."""
    page = await visit("/ui/chat?agent=helper")
    await page.keyboard.type("first")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("Heard: first")
    await tab_to(page, page.get_by_role("button", name="Rename first"), "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    await page.keyboard.type("second")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Rename second")).to_be_focused()
