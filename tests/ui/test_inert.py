"""What comes from a manifest, a model, a recording or a file's name is text, on every page; it never runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from agentsd.web.ui.pages import PAGES
from tests.e2e.home import Home
from tests.ui.chromium import SPOKEN
from tests.ui.conftest import NewSite, Visit
from tests.ui.opening import settled
from tests.ui.site import Site
from tests.vendors.openai_server import OpenAIServer

IMAGE = '<img src=x onerror="window.pwned=1">'
SCRIPT = "\"'></textarea></script><script>window.pwned=1</script>"
LINK = (
    "[a](javascript:window.pwned=1) ![b](javascript:window.pwned=1) <a href='javascript:window.pwned=1'>c</a>"
)
TEMPLATE = "{{ ''.constructor.constructor('window.pwned=1')() }} ${window.pwned=1}"
ALL = f"{IMAGE} {SCRIPT} {LINK} {TEMPLATE}"
TEXTS = ("name", "description", "system_prompt", "greeting")
BROKEN = "<img src=x onerror=window.pwned=1>.yaml"

FOUND = """
() => [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes]
  .filter((it) => it.name.startsWith("on") || /^\\s*javascript:/i.test(it.value))
  .map((it) => `${one.outerHTML.slice(0, 80)}: ${it.name}`))
  .concat([...document.querySelectorAll("main script, main img, main iframe")].map((one) => one.outerHTML))
  .concat(window.pwned === undefined ? [] : ["it ran"])
"""


async def inert(page: Page) -> None:
    """Nothing ran, and nothing waits to."""
    assert await page.evaluate(FOUND) == []


@pytest_asyncio.fixture(loop_scope="session")
async def hostile(new_site: NewSite) -> AsyncIterator[Site]:
    """A site whose every text is an attack."""
    async with OpenAIServer(words=[ALL], transcript=ALL) as vendor:

        def prepare(home: Home) -> None:
            fields = {**dict.fromkeys(TEXTS, ALL), "name": f"{IMAGE} {SCRIPT}"}
            endpoint = {"provider": "openai-compatible", "model": ALL, "api_url": vendor.url}
            agent = {**fields, "llm": endpoint, "stt": endpoint, "rag": {"sources": ["probe.md"]}}
            home.write("probe.yaml", json.dumps(agent))  # JSON is YAML
            home.write("probe.md", f"# {ALL}\n\n{ALL} opening hours\n")
            home.write(BROKEN, f"name: {json.dumps(ALL)}\nllm: {{provider: {json.dumps(IMAGE)}}}\n")
            home.write("wrong.yaml", f"{json.dumps(IMAGE)}: {json.dumps(SCRIPT)}\n")

        yield await new_site(prepare=prepare)


async def test_on_every_page(visit: Visit, hostile: Site) -> None:
    """The agent's name is shown as it is written, and nothing of it runs."""
    page = await visit("/ui/agents?agent=probe", at=hostile)
    for one in PAGES:
        await page.goto(f"{hostile.url}/ui/{one.name}?agent=probe")
        await expect(page.locator(".switcher-button")).to_contain_text(IMAGE)
        await settled(page)
        await inert(page)
    await page.goto(f"{hostile.url}/ui/agent?agent=probe")
    await expect(page.get_by_text(TEMPLATE).first).to_be_visible()
    await inert(page)
    await page.goto(f"{hostile.url}/ui/sync")
    await expect(page.get_by_text("wrong.yaml").first).to_be_visible()
    await expect(page.get_by_text(BROKEN).first).to_be_visible()
    await inert(page)


async def test_in_an_answer(visit: Visit, hostile: Site) -> None:
    """What a person asks, what the model answers, and what it cites."""
    page = await visit("/ui/chat?agent=probe", at=hostile)
    await page.get_by_label("Message").fill(f"{ALL} opening hours")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log").get_by_role("article").last).to_contain_text(TEMPLATE)
    await expect(page.get_by_text("probe.md").first).to_be_visible()
    await inert(page)
    await page.reload()
    await expect(page.get_by_role("log").get_by_role("article").last).to_contain_text(TEMPLATE)
    await inert(page)


async def test_in_a_transcript(visit: Visit, hostile: Site) -> None:
    """The name of the file that is dropped, and what the vendor claims to hear."""
    page = await visit("/ui/transcription?agent=probe", at=hostile)
    recording = {"name": f"{IMAGE}.wav", "mimeType": "audio/wav", "buffer": Path(SPOKEN).read_bytes()}
    await page.locator("#file").set_input_files(recording)  # type: ignore[arg-type]
    await expect(page.get_by_text(TEMPLATE).first).to_be_visible()
    await inert(page)
