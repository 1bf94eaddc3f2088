"""Users and tokens: the page makes tokens of our form, whose hash is all that the server gets."""

from __future__ import annotations

import json
import re
from hashlib import sha256

from playwright.async_api import Page, expect

from agentsd.core.api_tokens import make_token
from agentsd.web.ui.assets import load_assets
from tests.e2e.home import Home
from tests.tokens import is_token
from tests.ui.conftest import NewSite, Visit
from tests.ui.site import git
from tests.ui.test_accessibility import violations
from tests.ui.test_signing_in import ADMIN, ANN, sign_in, users


def committed(home: Home) -> None:
    """An admin and a viewer of acme, in git."""
    users(home)
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "users")


async def make(page: Page, name: str, role: str = "") -> str:
    """Fill in the open dialog; the token that is shown."""
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(name)
    if role:
        await dialog.get_by_label(role, exact=True).check()
    await dialog.get_by_role("button", name="Make it").click()
    await expect(dialog).to_contain_text("will not be shown again")
    return await dialog.locator("pre").inner_text()


async def test_tokens_are_made_as_the_command_makes_them(visit: Visit) -> None:
    """Of the same bytes the same token; new ones are all different, and each passes its own checksum."""
    page = await visit("/ui/users")
    module = f"/ui/static/{load_assets().edition}/js/token.js"
    given = [bytes([edge] * 31 + [number]) for edge in (0, 7, 255) for number in range(5)]
    made = await page.evaluate(
        "async ([url, given]) => { const { tokenOf, newToken, hashOf } = await import(url);"
        " const fresh = Array.from({ length: 50 }, newToken);"
        " const of = given.map((bytes) => tokenOf(Uint8Array.from(bytes)));"
        " return { of, fresh, hash: await hashOf(fresh[0]) }; }",
        [module, [list(one) for one in given]],
    )
    assert made["of"] == [make_token(one) for one in given]
    assert all(map(is_token, made["fresh"]))
    assert len(set(made["fresh"])) == 50
    assert made["hash"] == sha256(made["fresh"][0].encode()).hexdigest()


async def test_an_admin_makes_and_revokes_a_token(visit: Visit, new_site: NewSite) -> None:
    """Shown once, in git as a hash; its holder reads its own owner's, and is shut out at once."""
    site = await new_site("--write-back", "git", prepare=committed)
    page = await visit("/ui/users", at=site)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(json.dumps([request.url, request.post_data])))
    await sign_in(page, ADMIN)
    await page.get_by_role("button", name="New token for acme").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("admin", exact=True)).to_be_disabled()
    await dialog.get_by_label("Name").fill("ann")
    await page.keyboard.press("Enter")
    wrong = dialog.locator(".error:not(:empty)")
    await expect(wrong).to_contain_text("A token 'ann' of acme already exists")
    assert await violations(page) == []
    token = await make(page, "ci", "editor")
    assert await violations(page) == []
    assert is_token(token)
    assert not any(token in one for one in sent)
    await page.keyboard.press("Escape")
    await dialog.get_by_role("button", name="I have kept it").click()
    row = page.get_by_role("region", name="acme").get_by_role("row", name="ci")
    await expect(row).to_contain_text("editor")
    assert sha256(token.encode()).hexdigest() in site.read("acme/_user.yaml")
    assert site.git("log", "-1", "--format=%an: %s").strip() == "default/root: agentsd: token-create acme/ci"
    assert token not in await page.evaluate("document.body.innerHTML + JSON.stringify(localStorage)")

    other = await visit("/ui/users", at=site)
    await sign_in(other, token)
    await expect(other.get_by_role("row", name="ci")).to_contain_text("you")
    await expect(other.get_by_role("region")).to_have_count(1)
    await expect(other.get_by_role("button", name=re.compile("New token|Revoke"))).to_have_count(0)

    await page.get_by_role("button", name="Revoke acme/ci").click()
    await dialog.get_by_role("button", name="Revoke", exact=True).click()
    await expect(row).to_have_count(0)
    await other.reload()
    await expect(other.get_by_role("dialog")).to_contain_text("Sign in")

    await page.get_by_role("button", name="Revoke default/root").click()
    await dialog.get_by_role("button", name="Revoke", exact=True).click()
    await expect(dialog).to_contain_text("This request uses that token")
    await dialog.get_by_label("Type root to confirm").fill("root")
    await dialog.get_by_role("button", name="Revoke anyway").click()
    await expect(dialog).to_contain_text("Sign in")


async def test_the_first_token_closes_the_server_and_signs_in(visit: Visit, new_site: NewSite) -> None:
    """It is an admin's, and whoever made it goes on."""
    site = await new_site()
    page = await visit("/ui/users", at=site)
    await page.get_by_role("button", name="New token", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_label("viewer", exact=True)).to_be_disabled()
    token = await make(page, "root")
    await expect(page.get_by_role("dialog")).to_contain_text("signed in with it")
    await page.get_by_role("button", name="I have kept it").click()
    await expect(page.locator("#who")).to_contain_text("default/root")
    await expect(page.get_by_role("row", name="root")).to_contain_text("you")
    assert sha256(token.encode()).hexdigest() in site.read("_user.yaml")
    other = await visit("/ui/users", at=site)
    await expect(other.get_by_role("dialog")).to_contain_text("Sign in")


async def test_a_read_only_server_shows_the_command(visit: Visit, new_site: NewSite) -> None:
    """Ready to be copied, for making and revoking."""
    site = await new_site("--write-back", "off", prepare=users)
    page = await visit("/ui/users", at=site)
    await sign_in(page, ADMIN)
    await page.get_by_role("button", name="New token for acme").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("ci")
    await dialog.get_by_label("Expires").select_option("never")
    await dialog.get_by_role("button", name="Show the command").click()
    await expect(dialog.locator("pre")).to_have_text("agentsd token create ci --owner acme --role viewer")
    await dialog.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Revoke acme/ann").click()
    await expect(dialog.locator("pre")).to_have_text("agentsd token revoke ann --owner acme")
    await dialog.get_by_role("button", name="Close").click()
    await expect(page.get_by_role("row", name="ann")).to_be_visible()
    assert ANN not in await page.content()
