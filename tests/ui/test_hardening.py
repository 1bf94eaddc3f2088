"""What a page must not do with what it is given: secrets that are typed, addresses that lead elsewhere."""

from __future__ import annotations

from playwright.async_api import expect

from tests.ui.conftest import NewSite, Visit
from tests.ui.test_signing_in import ANN, sign_in, users


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
    await page.get_by_role("button", name="Show what to do").click()
    await expect(page.locator("ol.steps pre")).to_contain_text("ENC[sealed by: agentsd edit acme/sales]")
