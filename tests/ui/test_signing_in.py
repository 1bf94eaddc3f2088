"""Pages of a server that asks for tokens, and of one that lost Postgres."""

from __future__ import annotations

from hashlib import sha256

from playwright.async_api import Page, expect

from tests.e2e.home import Home
from tests.ui.conftest import NewSite, Visit

ADMIN = "agentsd_the-admin-s-token-of-the-pages"
ANN = "agentsd_the-viewer-s-token-of-the-pages"
USER = "tokens:\n  - name: {name}\n    role: {role}\n    sha256: {hashed}\n"


def users(home: Home) -> None:
    """An admin, and a viewer of acme."""
    for path, name, role, token in (("", "root", "admin", ADMIN), ("acme/", "ann", "viewer", ANN)):
        hashed = sha256(token.encode()).hexdigest()
        home.write(f"{path}_user.yaml", USER.format(name=name, role=role, hashed=hashed))


async def sign_in(page: Page, token: str) -> None:
    """As a person does."""
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_person_signs_in_and_out(visit: Visit, new_site: NewSite) -> None:
    """A wrong token is told; a right one shows the page, stays in no script's reach, and can be dropped."""
    site = await new_site(prepare=users)
    page = await visit("/ui/agents", at=site)
    await sign_in(page, "agentsd_not-the-right-one")
    await expect(page.get_by_role("alert")).to_contain_text("not valid")
    await sign_in(page, ANN)
    await expect(page.locator(".switcher-button")).to_contain_text("Sales")
    await expect(page.locator("#who")).to_contain_text("acme/ann")
    kept = await page.evaluate("document.cookie + JSON.stringify(localStorage) + document.body.innerHTML")
    assert ANN not in kept
    [cookie] = [one for one in await page.context.cookies() if one["name"] == "agentsd_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Sign in")


async def test_a_revoked_token_asks_again(visit: Visit, new_site: NewSite) -> None:
    """As soon as it ends; and somebody else gets a page of their own."""
    site = await new_site(prepare=users)
    page = await visit("/ui/chat", at=site)
    await sign_in(page, ANN)
    await expect(page.locator(".switcher-button")).to_contain_text("Sales")
    site.home.edit("acme/_user.yaml", sha256(ANN.encode()).hexdigest(), "f" * 64)
    await expect(page.get_by_role("dialog")).to_contain_text("Sign in")
    await sign_in(page, ADMIN)
    await expect(page.locator("#who")).to_contain_text("default/root")


async def test_a_shared_stream_ends_with_its_session(visit: Visit, new_site: NewSite) -> None:
    """Windows share one stream: another user's window gets their own, and what is left is theirs, too."""
    site = await new_site(prepare=users)
    page = await visit("/ui/agents", at=site)
    await sign_in(page, ANN)
    await expect(page.locator("#who")).to_contain_text("acme/ann")
    send = "token => fetch('/api/session', {method: 'POST', headers: {Authorization: `Bearer ${token}`}})"
    await page.evaluate(f"async token => {{ await ({send})(token); }}", ADMIN)
    other = await page.context.new_page()
    await other.goto(f"{site.url}/ui/agents")
    await expect(other.locator("#who")).to_contain_text("default/root")
    await expect(page.locator("#who")).to_contain_text("default/root")
    site.home.write("globex/later.yaml", "name: Later\nllm: {provider: echo.local}\n")
    for one in (other, page):
        await expect(one.locator("#rows")).to_contain_text("Later")
    await other.get_by_role("button", name="Sign out").click()
    for one in (other, page):
        await expect(one.get_by_role("dialog")).to_contain_text("Sign in")
