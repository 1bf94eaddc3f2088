"""The page /ui/voice: calls, spoken and written, over the real server and its voice detection."""

from __future__ import annotations

import json
import re
import signal
from hashlib import sha256
from typing import Any, TypeGuard

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.e2e.home import echo
from tests.services.speech import spoken
from tests.ui.conftest import NewSite, Visit
from tests.ui.site import Site, Vendors
from tests.ui.sound import DENIED, RECORDER, likeness, played, played_around_cut
from tests.ui.test_accessibility import violations
from tests.ui.test_signing_in import ANN, sign_in, users
from tests.vendors.openai_server import Call as ToolCall
from tests.vendors.openai_server import voice_of

ANSWER = "This is a test."
VOICED = """\
tts: {{provider: kokoro.local, url: "{tts.ws_url}{tts.path}"}}
stt: {{provider: whisper.local, url: "{stt.ws_url}"}}
"""


def sent(page: Page) -> list[dict[str, Any]]:
    """What the page sends from now on, without the sound."""
    events: list[dict[str, Any]] = []

    def keep(data: str | bytes) -> None:
        event = json.loads(data)
        if event["type"] != "input_audio_buffer.append":
            events.append(event)

    page.on("websocket", lambda socket: socket.on("framesent", keep))
    return events


async def write(page: Page, text: str) -> None:
    """Send a text; in a new call, where there is none."""
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()
    await page.get_by_label("Write instead of speaking").fill(text)
    await page.keyboard.press("Enter")


async def said(page: Page, who: str, text: str | re.Pattern[str]) -> None:
    """Wait until the last entry of ``who`` (you, agent) is whole, and is this."""
    entry = page.locator(f".talk .entry.{who}").last
    await expect(entry.locator(".said")).to_have_text(text)
    await expect(entry).to_have_attribute("aria-busy", "false")


def is_sound(frame: str | bytes) -> TypeGuard[bytes]:
    """Whether a frame of a recogniser's socket is sound."""
    return isinstance(frame, bytes)


async def test_a_spoken_turn(visit: Visit, vendors: Vendors) -> None:
    """What the microphone hears is transcribed and answered; what is played is what the vendor spoke."""
    page, before = await visit("/ui/voice?agent=clerk", before=RECORDER), len(vendors.stt.requests)
    await page.get_by_role("button", name="Start a call").click()
    status = page.locator("#status")
    await expect(status).to_have_text("You speak")
    await expect(page.locator(".talk .entry.you .said")).to_contain_text("heard")  # while it is spoken
    assert await page.get_by_role("meter", name="Microphone level").count() == 1
    await page.get_by_role("button", name="Mute").click()
    await said(page, "agent", ANSWER)
    await expect(page.locator(".talk .entry.note").first).to_have_text("answered by clerk v1")
    await expect(status).to_have_text("Muted")
    assert await played(page) == voice_of(ANSWER)
    sounds = [b"".join(filter(is_sound, request.frames)) for request in vendors.stt.requests[before:]]
    assert (
        max(likeness(sound, spoken(16_000)) for sound in sounds if sound) > 0.5
    )  # it is heard more than once
    row = page.locator(".turns > li").last
    await expect(row).to_contain_text("1 spoken")
    for step in ("pause", "stt", "llm", "tts"):
        await expect(row.locator(f".key.{step} .number")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:0[1-9]|0:[1-5]\d|[1-9]:\d\d$"))
    await page.get_by_role("button", name="Hang up").click()
    await expect(status).to_have_text("Not in a call")


async def test_another_agent_in_mid_call(visit: Visit, site: Site, vendors: Vendors) -> None:
    """The call stays: the next turn is the new agent's, and the one after it its new version's."""
    porter = "name: Porter\n" + echo("Porter hears {message}.") + VOICED.format(**vars(vendors))
    site.home.write("porter.yaml", porter)
    page = await visit("/ui/voice?agent=clerk", before=RECORDER)
    events = sent(page)
    await write(page, "One")
    await said(page, "agent", ANSWER)
    await page.locator(".switcher-button").click()
    await page.keyboard.type("porter")
    await page.get_by_role("option", name="Porter").click()
    await expect(page.locator(".switcher-button")).to_contain_text("Porter")
    await played(page)
    await write(page, "<img src=x onerror=alert(1)>")
    await said(page, "agent", "Porter hears <img src=x onerror=alert(1)>.")
    note = page.locator(".talk .entry.note").last
    await expect(note).to_have_text(re.compile(r"^now answered by porter v\d+$"))
    before = await note.text_content()
    assert await played(page) != b""
    site.home.write(
        "porter.yaml", porter.replace("Porter\n", "Porter the second\n").replace("hears", "still hears")
    )
    await expect(page.locator(".switcher-button")).to_contain_text("Porter the second")
    await write(page, "Three")
    await said(page, "agent", "Porter still hears Three.")
    await expect(note).to_have_text(re.compile(r"^now answered by porter v\d+$"))
    assert await note.text_content() != before
    await expect(page.locator(".turns > li")).to_have_count(3)
    assert [one["session"]["model"] for one in events if "model" in one.get("session", {})] == ["porter"]


async def test_barge_in(visit: Visit, vendors: Vendors) -> None:
    """Speech silences the page at once; the server is told how much was heard, and the page shows it.

    The sample recording speaks: it takes the microphone's place, and the vendor hears every word of it.
    """
    vendors.llm.scripted["Tell me everything"] = ("We are open on weekdays from nine to five. ",) * 250
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + DENIED.format(name="NotFoundError"))
    events = sent(page)
    await write(page, "Tell me everything")
    await expect(page.locator("#status")).to_have_text("The agent speaks")
    await page.get_by_role("button", name="Use a sample recording").click()
    await expect(page.locator(".talk s.unheard")).to_have_count(1)
    assert await page.evaluate("window.stopped") > 0
    (told,) = [event for event in events if event["type"] == "conversation.item.truncate"]
    await said(page, "agent", ANSWER)  # to what was said over it
    cut, answered = await played_around_cut(page)  # on a busy machine the answer has begun before one looks
    assert 0 <= told["audio_end_ms"] < len(cut) / 2 / 24
    assert answered == voice_of(ANSWER)
    await expect(page.locator("#device")).to_be_empty()
    heard = b"".join(frame for frame in vendors.stt.last.frames if isinstance(frame, bytes))
    assert likeness(heard, spoken(16_000)) > 0.95
    assert await violations(page) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (DENIED.format(name="NotAllowedError"), "may not use the microphone"),
        pytest.param(DENIED.format(name="NotFoundError"), "No microphone was found", marks=pytest.mark.soak),
        pytest.param(
            "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});",
            "plain http",
            marks=pytest.mark.soak,
        ),
    ],
    ids=["refused", "none", "insecure"],
)
async def test_without_a_microphone(visit: Visit, script: str, told: str) -> None:
    """The page says why, and the call goes on in writing, with spoken answers."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER + script)
    await page.get_by_role("button", name="Start a call").click()
    await expect(page.locator("#device").get_by_role("alert")).to_contain_text(told)
    await write(page, "Hello")
    await said(page, "agent", ANSWER)
    assert await played(page) == voice_of(ANSWER)


async def test_an_agent_that_only_thinks(visit: Visit) -> None:
    """It says what is missing, asks for no microphone, and answers in writing."""
    page = await visit("/ui/voice?agent=helper", before=RECORDER + DENIED.format(name="NotAllowedError"))
    await expect(page.locator("#lacks")).to_contain_text("no stt section")
    await expect(page.locator("#lacks")).to_contain_text("no voice")
    await expect(page.get_by_role("button", name="Use a sample recording")).to_be_disabled()
    await page.get_by_role("button", name="Start a call").click()
    await write(page, "Hello")
    await said(page, "agent", "Heard: Hello")
    await expect(page.locator("#device")).to_be_empty()
    assert await played(page) == b""
    assert await violations(page) == []


async def test_a_suspended_agent(visit: Visit, site: Site) -> None:
    """A call does not go over to it, and none begins; taken up again, it answers."""
    site.home.write("asleep.yaml", "name: Asleep\nactive: false\n" + echo("Awake: {message}"))
    page = await visit("/ui/voice?agent=helper")
    await write(page, "Hello")
    await said(page, "agent", "Heard: Hello")
    await page.locator(".switcher-button").click()
    await page.keyboard.type("asleep")
    await page.get_by_role("option", name="Asleep").click()
    await expect(page.locator("#notices")).to_contain_text("goes on with helper")
    await write(page, "Still there?")
    await said(page, "agent", "Heard: Still there?")
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("#lacks")).to_contain_text("suspended")
    await expect(page.get_by_role("button", name="Start a call")).to_be_disabled()
    site.home.edit("asleep.yaml", "active: false", "active: true")
    await expect(page.get_by_role("button", name="Start a call")).to_be_enabled()
    await write(page, "Hello")
    await said(page, "agent", "Awake: Hello")


@pytest.mark.soak
async def test_the_server_stops(visit: Visit, new_site: NewSite) -> None:
    """The page says that the server ended the call, and offers to call again."""
    site = await new_site()
    page = await visit("/ui/voice?agent=helper", at=site)
    await write(page, "Hello")
    await said(page, "agent", "Heard: Hello")
    site.process.send_all(signal.SIGTERM)
    await expect(page.locator("#notices").get_by_role("alert")).to_contain_text("The server ended the call")
    await expect(page.get_by_role("button", name="Call again")).to_be_visible()


@pytest.mark.soak
async def test_a_token_ends(visit: Visit, new_site: NewSite) -> None:
    """The cookie signs in to a call; with the token the call ends, and the page says why and asks again."""
    site = await new_site(prepare=users)
    page = await visit("/ui/voice?agent=acme/sales", at=site)
    await sign_in(page, ANN)
    await page.get_by_role("button", name="Start a call").click()
    await expect(page.locator("#status")).to_have_text("Waiting for you")
    site.home.edit("acme/_user.yaml", sha256(ANN.encode()).hexdigest(), "f" * 64)
    await expect(page.locator("#notices")).to_contain_text("Your sign-in has ended")
    await expect(page.get_by_role("dialog")).to_contain_text("Sign in")


@pytest.mark.soak
async def test_a_full_house(visit: Visit, new_site: NewSite) -> None:
    """A call that is one too many is told so, though browsers hide why a handshake was refused."""
    site = await new_site()
    page = await visit("/ui/voice?agent=helper", at=site)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        others = [await client.ws_connect(f"{site.url}/v1/realtime?model=helper") for _ in range(200)]
        await page.get_by_role("button", name="Start a call").click()
        await expect(page.locator("#notices").get_by_role("alert")).to_contain_text(
            "This server has too many calls"
        )
        await others[0].close()
        await page.get_by_role("button", name="Call again").click()
        await expect(page.locator("#status")).to_have_text("Waiting for you")


async def test_the_next_call_keeps_the_transcript(visit: Visit) -> None:
    """What was said stays above it, until it is cleared."""
    page = await visit("/ui/voice?agent=clerk", before=RECORDER)
    await write(page, "The first call")
    await said(page, "agent", ANSWER)
    await page.get_by_role("button", name="Hang up").click()
    await write(page, "The second call")
    await said(page, "you", "The second call")
    talk = page.locator(".talk")
    await expect(talk).to_contain_text("The first call")
    await expect(talk).to_contain_text("a new call")
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("button", name="Clear the transcript").press("Enter")
    await expect(talk).to_be_empty()


async def test_what_was_thrown_away_is_shown(visit: Visit, site: Site, vendors: Vendors) -> None:
    """A caller who goes on after each pause sees what the agent had begun to say; nobody heard it."""
    patient = "name: Patient\n" + echo("Too early.") + VOICED.format(**vars(vendors))
    site.home.write("patient.yaml", patient + "turn: {silence_ms: 10000}\n")
    page = await visit("/ui/voice?agent=patient", before=RECORDER)
    await page.get_by_role("button", name="Start a call").click()
    note = page.locator(".talk .entry.note", has_text="thrown away")
    await expect(note.first.locator("s.unheard")).to_have_text("Too early.")
    await expect(page.locator(".talk .entry.agent")).to_have_count(0)
    await page.get_by_role("button", name="Hang up").click()
    await page.locator(".calls a").first.click()
    kept = page.get_by_role("dialog").locator(".entry.note")
    await expect(kept.first).to_have_text("thrown away: Too early.")


TOOLED = """\
name: Handy
llm: {{provider: openai-compatible, model: m, api_url: {llm}}}
tools:
  - name: open_page
    client: true
"""


async def test_a_tool_that_is_left_to_the_client(visit: Visit, site: Site, vendors: Vendors) -> None:
    """It is a note, and not taken for words of the agent; the call goes on."""
    site.home.write("handy.yaml", TOOLED.format(llm=vendors.llm.url))
    page = await visit("/ui/users")
    await page.evaluate("async () => { while (!(await fetch('/api/agents/handy')).ok); }")
    vendors.llm.script = [[ToolCall("open_page")], ["It is open."]]
    await page.goto(f"{site.url}/ui/voice?agent=handy")
    await page.get_by_role("button", name="Start a call").click()
    await write(page, "Open the page.")
    note = page.locator(".talk .entry.note", has_text="tool")
    await expect(note).to_have_text("tool open_page left to your application")
    await write(page, "And now?")
    await said(page, "agent", "It is open.")
    await expect(page.locator(".talk .entry.agent")).to_have_count(1)
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await violations(page) == []
