"""Agents of a test's own, seen by the page before it goes on."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.ui.conftest import Visit
from tests.ui.site import Site

QUIET = """
() => new Promise((done) => {
  let seen = -1;
  const look = () => {
    const now = performance.getEntriesByType("resource").length;
    if (now === seen && !document.querySelector("#content[inert]")) done(true);
    else { seen = now; setTimeout(look, 500); }
  };
  look();
})
"""
"""Resolves when a page has begun and asks for nothing more.

Playwright's "networkidle" never comes beside a worker that pages share: the end of that script's request is
told to the worker only.
"""


async def settled(page: Page) -> None:
    """The page shows what it has to show."""
    await page.evaluate(QUIET)


def commit(site: Site, path: str, text: str) -> None:
    """A manifest, written and committed as a person does."""
    site.home.write(path, text)
    site.git("add", "--", f"agents.d/{path}")
    site.git("commit", "-q", "-m", f"{path} by hand", "--", f"agents.d/{path}")


async def opened(visit: Visit, site: Site, path: str, text: str, **options: object) -> Page:
    """The page of an agent that was just committed: found in the list, and opened from there."""
    commit(site, path, text)
    slug = path.removesuffix(".yaml")
    page = await visit(f"/ui/agents?q={slug}", at=site, **options)
    await page.locator(f'tr[data-slug="{slug}"] a').click()
    await expect(page.locator("#marks")).to_contain_text(slug)
    return page
