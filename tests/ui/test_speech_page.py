"""The page /ui/speech: a text, played as it is spoken."""

from __future__ import annotations

import re
import wave
from io import BytesIO
from pathlib import Path

from playwright.async_api import Page, expect

from tests.ui.conftest import Visit
from tests.ui.site import Vendors
from tests.ui.sound import RECORDER, played
from tests.ui.test_accessibility import violations
from tests.vendors.base import Fault
from tests.vendors.openai_server import voice_of

TEXT = "Good morning. Send it back within thirty days."


async def speak(page: Page, text: str) -> None:
    """Have it said."""
    await page.get_by_label("Text", exact=True).fill(text)
    await page.get_by_role("button", name="Speak").click()


async def test_a_text_is_spoken(visit: Visit) -> None:
    """What is played and what can be downloaded is what the vendor spoke; times and vendor are told."""
    page = await visit("/ui/speech?agent=clerk", before=RECORDER)
    await expect(page.locator("#voice")).to_contain_text("kokoro.local")
    await speak(page, TEXT)
    await expect(page.locator("#state")).to_have_text("Done")
    spoken = b"".join(voice_of(part) for part in re.split(r"(?<=\.) ", TEXT))
    assert await played(page) == spoken
    facts = page.locator(".times")
    for name in ("First byte", "First sound", "Whole"):
        await expect(facts).to_contain_text(re.compile(rf"{name}\d+"))
    async with page.expect_download() as told:
        await page.get_by_role("link", name="Download clerk.wav").click()
    download = await told.value
    assert download.suggested_filename == "clerk.wav"
    with wave.open(BytesIO(Path(await download.path()).read_bytes())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.getnframes() == len(spoken) // 2
        assert file.readframes(file.getnframes()) == spoken
    duration = "document.querySelector('audio').duration"
    await page.wait_for_function(f"{duration} > 0")
    assert await violations(page) == []
    assert abs(await page.evaluate(duration) - len(spoken) / 2 / 24_000) < 0.001


async def test_it_can_be_stopped(visit: Visit) -> None:
    """Silence at once; the same page speaks again."""
    page = await visit("/ui/speech?agent=clerk", before=RECORDER)
    await speak(page, "We are open on weekdays. " * 300)
    await expect(page.locator("#state")).to_have_text("Speaking")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#state")).to_have_text("Stopped")
    assert await page.evaluate("window.stopped") > 0
    await played(page)
    await speak(page, "Hello.")
    await expect(page.locator("#state")).to_have_text("Done")
    assert await played(page) == voice_of("Hello.")


async def test_a_vendor_that_fails(visit: Visit, vendors: Vendors) -> None:
    """The page says so, and speaks again once the vendor does."""
    page = await visit("/ui/speech?agent=clerk")
    vendors.tts.fault = Fault.ERROR_FRAME
    try:
        await speak(page, TEXT)  # it fails in the middle
        await expect(page.locator("#errors").get_by_role("alert")).to_contain_text("try again")
    finally:
        vendors.tts.fault = None
    await expect(page.locator("#errors")).not_to_contain_text("secret")
    await speak(page, "Hello.")
    await expect(page.locator("#state")).to_have_text("Done")
    await expect(page.locator("#errors")).to_be_empty()


async def test_no_voice_and_too_much_text(visit: Visit) -> None:
    """An agent without a voice cannot be asked; the page shows the section to add. A text has a limit."""
    page = await visit("/ui/speech?agent=helper")
    await expect(page.locator("#lacks")).to_contain_text("no voice")
    await expect(page.locator("#lacks pre")).to_contain_text("provider: piper.local")
    await expect(page.get_by_role("button", name="Speak")).to_be_disabled()
    assert await violations(page) == []
    field = page.get_by_label("Text", exact=True)
    await field.fill("x" * 16_385)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#count")).to_have_text("16,385 of 16,384 characters")
