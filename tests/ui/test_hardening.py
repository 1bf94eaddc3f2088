"""What a page must not do with what it is given: secrets that are typed, addresses that lead elsewhere."""

from __future__ import annotations

from hashlib import sha256

from playwright.async_api import Page, expect

from tests.e2e.home import Home
from tests.ui.conftest import NewSite, Visit
from tests.ui.site import Site
from tests.ui.test_signing_in import ANN, sign_in, users

BOB = "agentsd_another-viewer-s-token-of-the-pages"
COVER = "getComputedStyle(document.querySelector('dialog'), '::backdrop').backgroundColor"
GROUND = "getComputedStyle(document.body).backgroundColor"
TYPED = "sk-Typed7AndShownToNobody"
SAID = "our merger with globex"


async def test_a_secret_is_not_typed_where_it_cannot_be_saved(visit: Visit, new_site: NewSite) -> None:
    """A viewer prepares a change for somebody else: no secret is asked for, so none is passed on."""
    site = await new_site("--write-back", "files", prepare=users)
    page = await visit("/ui/edit?agent=acme~sales", at=site)
    await sign_in(page, ANN)
    await expect(page.get_by_text("Your role may not change agents of acme")).to_be_visible()
    key = page.locator("[data-pointer='llm_provider_config.api_key']")
    await expect(key).to_contain_text("Sealed: unchanged")
    await expect(key.locator("input")).to_be_hidden()
    vendor = page.locator("[data-pointer='llm_provider_config.provider'] select")
    await vendor.select_option(label="groq.com")
    await expect(key).to_contain_text("agentsd edit")
    await expect(key.locator("input")).to_be_hidden()
    await page.locator("[data-pointer='llm_provider_config.model'] input").fill("small")
    await page.get_by_role("button", name="Show the steps").click()
    await expect(page.locator("ol.steps pre")).to_contain_text("ENC[sealed by: agentsd edit acme/sales]")


def people(home: Home) -> None:
    """Two viewers of one owner."""
    tokens = "".join(
        f"  - {{name: {name}, role: viewer, sha256: {sha256(token.encode()).hexdigest()}}}\n"
        for name, token in (("ann", ANN), ("bob", BOB))
    )
    home.write("acme/_user.yaml", f"tokens:\n{tokens}")
    home.write("acme/parrot.yaml", "name: Parrot\ndefault: true\nllm: {provider: echo.local}\n")


async def say(page: Page, text: str) -> None:
    """Until it is answered."""
    await expect(page.get_by_role("log")).to_contain_text("Parrot")
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log").get_by_role("article").last).to_contain_text(text)


async def test_what_was_said_goes_with_who_said_it(visit: Visit, new_site: NewSite) -> None:
    """Another person of the same owner does not find it; signing out in one tab clears the others.

    Nor is it read behind the question for a token.
    """
    site = await new_site(prepare=people)
    page = await visit("/ui/chat", at=site)
    assert await page.evaluate(COVER) == await page.evaluate(GROUND)
    await sign_in(page, ANN)
    await say(page, SAID)
    await page.context.clear_cookies()
    await page.goto(f"{site.url}/ui/chat")
    await sign_in(page, BOB)
    await expect(page.locator("#who")).to_contain_text("acme/bob")
    await expect(page.locator("#history-list")).to_contain_text("None yet")
    await say(page, "I am Bob")
    other = await page.context.new_page()
    await other.goto(f"{site.url}/ui/agents")
    await other.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Sign in")
    left = await page.evaluate("document.documentElement.textContent + JSON.stringify(localStorage)")
    assert "I am Bob" not in left
    assert SAID not in left


async def test_a_typed_secret_is_not_shown_beside_what_others_did(visit: Visit, site: Site) -> None:
    """Both chose another vendor: what is compared says that a key was typed, and not which."""
    site.home.write("disputed.yaml", "name: Disputed\nllm: {provider: echo.local}\n")
    commit(site)
    page = await visit("/ui/edit?agent=disputed")
    section = "[data-pointer='llm_provider_config.{}']"
    await page.locator(section.format("provider")).locator("select").select_option(label="groq.com")
    await page.locator(section.format("model")).locator("input").fill("small")
    await page.locator(section.format("api_key")).locator("input").fill(TYPED)
    theirs = '{provider: llama-cpp.local, model: m, api_url: "http://127.0.0.1:1"}'
    site.home.write("disputed.yaml", f"name: Disputed\nllm: {theirs}\n")
    commit(site)
    await page.get_by_role("button", name="Decide").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("(typed)")
    assert TYPED not in await page.content()
    await dialog.get_by_role("button", name="Keep all of mine").click()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(page.locator(section.format("api_key")).locator("input")).to_have_value(TYPED)


def commit(site: Site) -> None:
    """All files, as another person does."""
    site.git("add", "-A")
    site.git("commit", "-q", "-m", "theirs")


OURS = ("/ui/chat", "/", "?chat=1", "#a", "https://a.b/c", "mailto:a@b.c", "faq.md", "a/b")
THEIRS = ("//a.b", "/\\a.b", "/\t/a.b", "/\n/a.b", "\\\\a.b", "javascript:1", "data:,1", "java\nscript:1")
THEIRS += (" javascript:1", "\x01javascript:1", "vbscript:1", "a:b")
ADDRESSES = """
async (all) => {
  const page = document.querySelector("script[type=module]").src;
  const { h } = await import(page.replace(/js\\/.*/, "js/dom.js"));
  return all.filter((href) => h("a", { href }).hasAttribute("href"));
}
"""


async def test_addresses_that_run_or_lead_elsewhere_are_none(visit: Visit) -> None:
    """An element gets an address only if it is one of ours, or says plainly where it leads."""
    page = await visit("/ui/agents")
    assert await page.evaluate(ADDRESSES, [*OURS, *THEIRS]) == [*OURS]
