"""The choice of microphone and speaker on /ui/voice, and devices that are removed in a call."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from tests.e2e.processes import until
from tests.ui.conftest import Visit
from tests.ui.sound import RECORDER

DEVICES = """
(() => {
  const all = [
    ["audioinput", "default", "Default"], ["audioinput", "in-desk", "Desk microphone"],
    ["audioinput", "in-head", "Headset"], ["audiooutput", "default", "Default"],
    ["audiooutput", "out-desk", "Desk speaker"], ["audiooutput", "out-head", "Headset"],
  ].map(([kind, deviceId, label]) => ({ kind, deviceId, label, groupId: "" }));
  const gone = new Set();
  const opened = new Map();
  const there = () => all.filter((one) => !gone.has(one.deviceId));
  window.used = { microphones: [], speakers: [] };
  let named = false;
  const media = navigator.mediaDevices;
  const open = media.getUserMedia.bind(media);
  const hidden = (one) => ({ ...one, deviceId: "", label: "" });
  media.enumerateDevices = async () => (named ? there() : there().map(hidden));
  media.getUserMedia = async ({ audio }) => {
    const id = audio.deviceId?.exact ?? "default";
    if (!there().some((one) => one.deviceId === id)) throw new DOMException("", "OverconstrainedError");
    const stream = await open({ audio: true });
    named = true;
    window.used.microphones.push(id);
    opened.set(id, stream.getAudioTracks()[0]);
    return stream;
  };
  AudioContext.prototype.setSinkId = async function (id) {
    if (id && gone.has(id)) throw new DOMException("", "NotFoundError");
    window.used.speakers.push(id);
  };
  window.unplug = (...ids) => {
    for (const id of ids) {
      gone.add(id);
      opened.get(id)?.dispatchEvent(new Event("ended"));
    }
    media.dispatchEvent(new Event("devicechange"));
  };
  window.plug = (...ids) => {
    ids.forEach((id) => gone.delete(id));
    media.dispatchEvent(new Event("devicechange"));
  };
})();
"""
"""An init script: two microphones and two speakers; ``unplug`` removes them, ``used`` lists the used ones."""


async def used(page: Page) -> Any:
    """The ids that were used, in order."""
    return await page.evaluate("window.used")


async def uses(page: Page, kind: str, device: str) -> None:
    """Wait until that device is the last that was used. Its policy forbids a predicate inside."""

    async def look() -> bool:
        return bool((await used(page))[kind][-1:] == [device])

    await until(look)


async def start(page: Page) -> None:
    """Begin a call."""
    await page.get_by_role("button", name="Start a call").click()
    await expect(page.get_by_role("button", name="Mute")).to_be_visible()


async def test_devices_are_chosen_and_remembered(visit: Visit) -> None:
    """The names come once the microphone may be used; a choice counts at once, and for the next visit."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + DEVICES)
    microphone, speaker = page.get_by_label("Microphone", exact=True), page.get_by_label("Speaker")
    await expect(microphone).to_be_disabled()
    await expect(page.locator("#devices")).to_contain_text("once this page may use the microphone")
    await start(page)
    await expect(microphone.locator("option")).to_have_text(["System default", "Desk microphone", "Headset"])
    await microphone.select_option("Headset")
    await speaker.select_option("Headset")
    await uses(page, "microphones", "in-head")
    await uses(page, "speakers", "out-head")
    await page.reload()
    await expect(microphone.locator("option:checked")).to_have_text("Headset")
    await start(page)
    assert (await used(page))["microphones"] == ["in-head"]
    assert (await used(page))["speakers"][0] == "out-head"


async def test_devices_that_are_removed(visit: Visit) -> None:
    """They are named, the call goes on with the system's own, and takes them again when they are back."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + DEVICES)
    await start(page)
    await page.get_by_label("Microphone", exact=True).select_option("Headset")
    await page.get_by_label("Speaker").select_option("Headset")
    await uses(page, "microphones", "in-head")
    await page.evaluate("window.unplug('in-head', 'out-head')")
    await expect(page.locator("#device").get_by_role("alert")).to_contain_text("“Headset” is not connected")
    await uses(page, "microphones", "default")
    await uses(page, "speakers", "")
    await expect(page.get_by_label("Microphone", exact=True).locator("option:checked")).to_have_text(
        "Headset (not connected)"
    )
    await expect(page.get_by_role("button", name="Mute")).to_be_visible()
    await page.evaluate("window.plug('in-head', 'out-head')")
    await uses(page, "microphones", "in-head")
    await uses(page, "speakers", "out-head")
    await expect(page.locator("#device")).to_be_empty()


async def test_the_last_microphone_is_removed(visit: Visit) -> None:
    """The call goes on in writing."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + DEVICES)
    await start(page)
    await page.evaluate("window.unplug('in-desk', 'in-head', 'default')")
    await expect(page.locator("#device").get_by_role("alert")).to_contain_text("The microphone was removed")
    await expect(page.get_by_role("button", name="Turn on the microphone")).to_be_visible()
