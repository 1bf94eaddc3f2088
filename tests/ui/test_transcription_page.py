"""The page /ui/transcription: what is said in a recording, as it is heard."""

from __future__ import annotations

import re
import wave
from io import BytesIO

from playwright.async_api import FilePayload, Page, expect

from agentsd.audio import g711
from tests.services.speech import spoken
from tests.ui.conftest import Visit
from tests.ui.site import Vendors
from tests.ui.sound import DENIED, likeness
from tests.ui.test_accessibility import violations
from tests.vendors.base import Fault
from tests.vendors.openai_server import heard

HOSTILE = '<img src=x onerror="window.harmed=1">.wav'
WATCH = """
window.partials = [];
new MutationObserver(() => {
  const text = document.querySelector(".partial")?.textContent;
  if (text) window.partials.push(text);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
"""An init script: ``partials`` has every partial transcript that was shown."""


def wav_of(pcm: bytes, rate: int) -> bytes:
    """A file."""
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


def mulaw_of(pcm: bytes, rate: int) -> bytes:
    """A file that the server does not read, and the browser does."""
    file = bytearray(wav_of(g711.encode_g711("u", pcm), rate))
    file[20:22], file[28:32], file[32:36] = b"\7\0", rate.to_bytes(4, "little"), b"\1\0\10\0"
    return bytes(file)


async def choose(page: Page, name: str, data: bytes) -> None:
    """Give a file."""
    payload = FilePayload(name=name, mimeType="audio/wav", buffer=data)
    await page.get_by_label("Or choose a file").set_input_files(payload)


async def test_the_sample_recording(visit: Visit, vendors: Vendors) -> None:
    """Partial transcripts show while it is heard, then the final text, and how long it took."""
    clipboard = ["clipboard-read", "clipboard-write"]
    page = await visit("/ui/transcription?agent=clerk", before=WATCH, permissions=clipboard)
    await expect(page.locator("#vendor")).to_contain_text("whisper.local")
    vendors.stt.delay = 0.2  # between what is heard and what stays
    try:
        await page.get_by_role("button", name="Use a sample recording").click()
        await expect(page.locator("#state")).to_have_text("Done")
    finally:
        vendors.stt.delay = 0.0
    await expect(page.locator(".heard")).to_have_text(heard(spoken(16_000)))
    partials = await page.evaluate("window.partials")
    assert heard(spoken(16_000)[:32_000]) in partials
    for name in ("Sound", "Uploaded", "First partial", "Whole", "Real-time factor"):
        await expect(page.locator(".times")).to_contain_text(re.compile(rf"{name}\d+"))
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == heard(spoken(16_000))


async def test_files(visit: Visit, vendors: Vendors) -> None:
    """A WAV goes as it is, another is decoded here, what is no sound is told; a hostile name is a text."""
    page = await visit("/ui/transcription?agent=clerk")
    text, source = page.locator(".heard"), page.locator(".source")
    await choose(page, HOSTILE, wav_of(spoken(16_000), 16_000))
    await expect(text).to_have_text(heard(spoken(16_000)))
    await expect(source).to_have_text(f"{HOSTILE}, sent as is")
    await choose(page, "mu.wav", mulaw_of(spoken(8_000), 8_000))
    await expect(source).to_contain_text("mu.wav, converted to 16 kHz mono WAV")
    await expect(page.locator("#state")).to_have_text("Done")
    frames = b"".join(frame for frame in vendors.stt.last.frames if isinstance(frame, bytes))
    assert likeness(frames, spoken(16_000)) > 0.95
    await choose(page, "notes.txt", b"no sound at all")
    await expect(page.locator("#errors").get_by_role("alert")).to_contain_text(
        "cannot decode the file as audio"
    )
    assert await page.evaluate("window.harmed") is None
    assert await violations(page) == []


async def test_the_microphone(visit: Visit, vendors: Vendors) -> None:
    """Recorded until it is stopped; the vendor hears the person."""
    page = await visit("/ui/transcription?agent=clerk")
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.get_by_role("timer")).to_have_text("0:02")
    await page.get_by_role("button", name="Stop and transcribe").click()
    await expect(page.locator(".heard")).to_have_text(re.compile(r"^heard \d{5,} bytes"))
    frames = b"".join(frame for frame in vendors.stt.last.frames if isinstance(frame, bytes))
    assert likeness(frames, spoken(16_000)) > 0.5


async def test_what_is_not_there(visit: Visit, vendors: Vendors) -> None:
    """No microphone, a vendor that fails, an agent that cannot listen: each says what to do."""
    page = await visit("/ui/transcription?agent=clerk", before=DENIED.format(name="NotAllowedError"))
    alert = page.locator("#errors").get_by_role("alert")
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(alert).to_contain_text("You can also choose a file")
    vendors.stt.fault = Fault.ERROR_FRAME
    try:
        await page.get_by_role("button", name="Use a sample recording").click()
        await expect(alert).to_contain_text("reported an error")
    finally:
        vendors.stt.fault = None
    await page.goto(page.url.replace("clerk", "helper"))
    await expect(page.locator("#lacks")).to_contain_text("cannot listen")
    await expect(page.get_by_role("button", name="Record", exact=True)).to_be_disabled()
