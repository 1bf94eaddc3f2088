"""A browser and a site for all tests of the pages, and further sites for those that need another kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.databases import DatabasePool
from tests.ui import chromium
from tests.ui.site import Site, Vendors, new_home
from tests.ui.site import vendors as vendors_of

Visit = Callable[..., Awaitable[Page]]
NewSite = Callable[..., Awaitable[Site]]

PATIENCE_MS = 90_000
"""Any condition is waited for so long: the machine may be busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all of them: the browser and the site live as long as it."""
    missing = pytest.mark.skip(reason=chromium.MISSING)
    for item in items:
        if "tests/ui/" not in item.nodeid and not item.nodeid.startswith("ui/"):
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if chromium.find() is None:
            item.add_marker(missing)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    expect.set_options(timeout=PATIENCE_MS)
    async with chromium.browser() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def vendors() -> AsyncIterator[Vendors]:
    """The vendors' servers."""
    async with vendors_of() as running:
        yield running


@pytest.fixture(scope="session")
def new_database(databases: DatabasePool) -> Iterator[Callable[[], str]]:
    """Makes a migrated database, and gives its URL; all are given back at the end."""
    with ExitStack() as exits:
        yield lambda: exits.enter_context(databases.lend())


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def site(vendors: Vendors, new_database: Callable[[], str]) -> AsyncIterator[Site]:
    """Open, and writes files as git commits. Shared: a test makes agents of its own, and harms no others."""
    async with new_home(vendors) as home:
        home.env["AGENTSD_DATABASE_URL"] = new_database()
        process, url = await home.up("--write-back", "git")
        yield Site(home, process, url)


@pytest_asyncio.fixture(loop_scope="session")
async def new_site(vendors: Vendors, new_database: Callable[[], str]) -> AsyncIterator[NewSite]:
    """``await new_site("--write-back", "off", AGENTSD_X="…", prepare=lambda home: …)``: one for this test.

    ``prepare`` may write more into the home before it starts.
    """
    async with AsyncExitStack() as exits:

        async def make(*arguments: str, prepare: Callable[..., None] | None = None, **env: str) -> Site:
            home = await exits.enter_async_context(new_home(vendors))
            home.env["AGENTSD_DATABASE_URL"] = new_database()
            if prepare is not None:
                prepare(home)
            process, url = await home.up(*arguments, **env)
            return Site(home, process, url)

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, site: Site) -> AsyncIterator[Visit]:
    """``await visit("/ui/chat?agent=helper", at=another_site, color_scheme="dark")``: a new visitor's page.

    Whatever its scripts throw, and whatever the Content-Security-Policy blocks, fails the test.
    """
    faults: list[str] = []
    async with AsyncExitStack() as exits:

        async def make(path: str, *, at: Site = site, before: str = "", **options: object) -> Page:
            context = await browser.new_context(**options)  # type: ignore[arg-type]
            exits.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            if before:
                await context.add_init_script(before)
            page = await context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda said: faults.append(said.text) if _is_fault(said.text) else None)
            await page.goto(at.url + path)
            await page.wait_for_selector(".switcher-button, dialog[open]")
            return page

        yield make
    assert faults == []


def _is_fault(said: str) -> bool:
    return "Content Security Policy" in said or "TrustedHTML" in said or "Trusted Types" in said
