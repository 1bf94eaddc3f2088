"""The last calls on /ui/voice: kept in the browser, shown, copied, downloaded, linked and deleted."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.ui.conftest import Visit
from tests.ui.sound import RECORDER
from tests.ui.test_accessibility import PHONE, violations
from tests.ui.test_voice_page import ANSWER, said, write

KEY = "Object.keys(localStorage).find((name) => name.startsWith('agentsd.calls.'))"
COPIED = "window.copied = []; navigator.clipboard.writeText = async (text) => { window.copied.push(text); };"
"""An init script: what is copied is kept."""


async def call(page: Page, text: str) -> None:
    """A call in which one thing is written, and answered."""
    await write(page, text)
    await said(page, "agent", ANSWER)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("#status")).to_have_text("Not in a call")


async def test_calls_are_kept_in_the_browser(visit: Visit, tmp_path: Path) -> None:
    """A call is opened by keyboard, copied, downloaded and linked, and is there until it is deleted."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + COPIED)
    calls = page.locator(".calls a")
    await call(page, "The first call")
    await call(page, "The second call")
    await expect(calls).to_have_count(2)
    await calls.last.press("Enter")
    shown = page.get_by_role("dialog")
    await expect(shown.locator(".entry.you")).to_contain_text("The first call")
    await expect(shown.locator(".entry.agent")).to_contain_text(ANSWER)
    await expect(shown.locator(".turns > li")).to_contain_text("1 written")
    await shown.get_by_role("button", name="Copy", exact=True).click()
    await shown.get_by_role("button", name="Copy link").click()
    text, link = await page.evaluate("window.copied")
    assert "You: The first call\n" in text
    assert f"clerk: {ANSWER}\n" in text
    assert "1 written, clerk v1" in text
    async with page.expect_download() as waiting:
        await shown.get_by_role("button", name="Download").click()
    download = await waiting.value
    assert download.suggested_filename.startswith("call-clerk-")
    await download.save_as(tmp_path / "call.txt")
    assert (tmp_path / "call.txt").read_text() == text
    assert await violations(page) == []
    await expect(page).to_have_url(link)
    await page.keyboard.press("Escape")
    await expect(shown).to_have_count(0)
    await expect(page).not_to_have_url(re.compile("call="))
    await expect(calls.last).to_be_focused()
    await page.goto(link)
    await expect(shown.locator(".entry.you")).to_contain_text("The first call")
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)
    assert await violations(page) == []
    await shown.get_by_role("button", name="Delete").click()
    await expect(calls).to_have_count(1)
    await page.goto(link)
    await expect(page.locator("#notices")).to_contain_text("does not have that call")
    await page.get_by_role("button", name="Delete all").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete all").click()
    await expect(calls).to_have_count(0)
    assert await page.evaluate(f"localStorage.getItem({KEY})") == "[]"


async def test_only_the_last_ten_are_kept(visit: Visit) -> None:
    """The oldest goes when another call ends; what another version of the page has kept harms nothing."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER)
    await call(page, "Hello")
    (kept,) = json.loads(await page.evaluate(f"localStorage.getItem({KEY})"))
    older = [
        kept | {"id": f"old{n}", "name": f"Call {n}", "began": kept["began"] - n * 1000} for n in range(1, 12)
    ]
    await page.evaluate(
        f"(calls) => localStorage.setItem({KEY}, calls)", json.dumps([*older, {"odd": 1}, None])
    )
    await page.reload()
    await expect(page.locator(".calls a")).to_have_count(11)
    await call(page, "Again")
    await expect(page.locator(".calls a")).to_have_count(10)
    await expect(page.locator(".calls")).not_to_contain_text("Call 10")
    await expect(page.locator(".calls")).to_contain_text("Call 9")
