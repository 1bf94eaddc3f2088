"""The list of agents."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, expect

from tests.e2e.home import REPOSITORY, Home, echo
from tests.ui.conftest import NewSite, Visit
from tests.ui.site import Site
from tests.ui.test_accessibility import violations

PLAIN = "llm: {provider: echo.local}\n"


def query(page: Page) -> dict[str, list[str]]:
    """What the address says, but for the agent of the switcher."""
    return {name: found for name, found in parse_qs(urlsplit(page.url).query).items() if name != "agent"}


def shelve(site: Site, folder: str) -> None:
    """Three agents of an owner of their own."""
    for name, title in (("a", "Zebra"), ("b", "Yak"), ("c", "Xerus")):
        site.home.write(f"{folder}/{name}.yaml", f"name: {title}\n" + PLAIN)


async def test_it_is_searched_sorted_and_shared(visit: Visit, site: Site) -> None:
    """Filters and order stand in the address, and the back button undoes them one by one."""
    shelve(site, "shelf")
    page = await visit("/ui/agents")
    rows = page.locator("#rows tr")
    await page.get_by_label("Owner").fill("shelf")
    await expect(rows).to_have_count(3)
    await expect(page.locator("#count")).to_have_text("3 agents match")
    await page.get_by_role("columnheader", name="Agent").get_by_role("button").press("Enter")
    await expect(rows.first).to_contain_text("Xerus")
    await expect(page.get_by_role("columnheader", name="Agent")).to_have_attribute("aria-sort", "ascending")
    assert query(page) == {"owner": ["shelf"], "sort": ["name"]}
    shared = await visit(page.url.removeprefix(site.url))
    await expect(shared.locator("#rows tr").first).to_contain_text("Xerus")
    await page.go_back()
    await expect(rows.first).to_contain_text("Zebra")
    await page.get_by_label("Provider").select_option("kokoro.local")
    await expect(page.locator("#empty")).to_have_text("No agent matches.")
    await page.get_by_role("button", name="Clear search and filters").click()
    await expect(rows.filter(has_text="Clerk")).to_be_visible()
    assert query(page) == {}


async def test_it_is_live(visit: Visit, site: Site) -> None:
    """Files that are edited, added and removed on disk show without a reload, and are counted."""
    shelve(site, "lively")
    page = await visit("/ui/agents?owner=lively&sort=-name")
    await expect(page.locator("#count")).to_have_text("3 agents match")
    await page.evaluate("window.untouched = true")
    await page.get_by_role("link", name="Yak").focus()
    site.home.edit("lively/b.yaml", "Yak", "Aardvark")
    await expect(page.locator("#rows tr").last).to_contain_text("Aardvark")
    await expect(page.get_by_role("link", name="Aardvark")).to_be_focused()
    site.home.write("lively/d.yaml", "name: Wolf\nactive: false\n" + PLAIN)
    await expect(page.locator("#count")).to_have_text("4 agents match")
    await expect(page.locator('tr[data-slug="lively/d"]')).to_contain_text("Suspended")
    (site.agents / "lively/a.yaml").unlink()
    await expect(page.locator("#count")).to_have_text("3 agents match")
    assert await page.evaluate("window.untouched") is True


async def test_hostile_texts_are_texts(visit: Visit, site: Site) -> None:
    """What a manifest calls its agent is shown letter by letter, on a phone too, and nothing is too wide."""
    hostile = "<img src=x onerror=alert(1)>"
    site.home.write("hostile/one.yaml", f"name: '{hostile}'\ndescription: '{hostile}'\n" + PLAIN)
    page = await visit("/ui/agents?owner=hostile", viewport={"width": 390, "height": 844})
    await expect(page.get_by_role("link", name=hostile)).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_role("link", name=hostile).press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(hostile)
    assert await page.locator("main img").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_a_page_after_the_other(visit: Visit, new_site: NewSite) -> None:
    """Fifty rows, then more; whoever comes back finds the same rows. A server that only reads says so."""
    site = await new_site("--write-back", "off", prepare=_crowd)
    page = await visit("/ui/agents?owner=crowd", at=site)
    await expect(page.locator("#where")).to_contain_text(
        "This server is read-only: edit the files in agents.d"
    )
    await expect(page.locator("#count")).to_have_text("50 of 60 agents match")
    await page.get_by_role("button", name="Show 10 more").press("Enter")
    await expect(page.locator("#count")).to_have_text("60 agents match")
    await expect(page.get_by_role("link", name="Member 50")).to_be_focused()
    await page.get_by_role("link", name="Member 55").click()
    await expect(page).to_have_url(re.compile("/ui/agent"))
    await page.go_back()
    await expect(page.get_by_role("link", name="Member 55")).to_be_in_viewport()


def _crowd(home: Home) -> None:
    for number in range(60):
        home.write(f"crowd/m{number:02}.yaml", echo("yes", name=f"Member {number}"))


async def test_refused_files_are_rows(visit: Visit, site: Site) -> None:
    """An agent whose file is refused is not Ready; one that never was an agent is there, with the place."""
    site.home.write("refused/old.yaml", "name: Old\n" + PLAIN)
    page = await visit("/ui/agents?owner=refused")
    row = page.locator('tr[data-slug="refused/old"]')
    await expect(row).to_contain_text("Untested")
    site.home.write("refused/old.yaml", "name: Old\nllm: {provider: echo.loca}\n")
    site.home.write("refused/new.yaml", "name: New\nllm:\n  provider: echo.loca\n")
    await expect(row).to_contain_text("File refused")
    await expect(row).to_contain_text("agents.d/refused/old.yaml:2:")
    new = page.locator('tr[data-path="refused/new.yaml"]')
    await expect(new).to_contain_text("agents.d/refused/new.yaml:3:13")
    await expect(page.locator("#count")).to_have_text("1 agent matches, 1 file refused")
    await page.get_by_label("Status").select_option(label="File refused")
    await expect(new).to_be_visible()
    await expect(row).to_be_visible()
    assert await violations(page) == []
    await new.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("No such agent")
    await expect(page.locator("#content")).to_contain_text("agents.d/refused/new.yaml:3:13")
    await page.goto(f"{site.url}/ui/agent?agent=refused~old")
    await expect(page.locator("#file-fault")).to_contain_text("until then the version before it is served")
    for name in ("old", "new"):
        (site.agents / f"refused/{name}.yaml").unlink()


async def test_samples_and_empty_folders_name_the_next_step(visit: Visit, new_site: NewSite) -> None:
    """Where there is no agent, what to do; of one with the samples' key, that it needs one of its own."""
    site = await new_site("--write-back", "files", prepare=_empty)
    page = await visit("/ui/agents", at=site)
    await expect(page.locator("#empty")).to_contain_text("There is no agent yet.")
    await expect(page.locator("#empty pre")).to_contain_text("provider: echo.local")
    assert await violations(page) == []
    link = page.get_by_role("link", name="Make the first agent")
    assert await link.get_attribute("href") == "/ui/edit?new"
    site.home.write("writer.yaml", (REPOSITORY / "agents.d/writer.yaml").read_text())
    row = page.locator('tr[data-slug="writer"]')
    await expect(row).to_contain_text("Needs setup")
    await expect(row).to_contain_text("published key")
    await row.get_by_role("link").click()
    await expect(page.get_by_text("Writer needs setup before it can answer.")).to_be_visible()
    await expect(page.get_by_role("link", name="Edit it")).to_be_visible()


def _empty(home: Home) -> None:
    for file in home.agents.rglob("*.yaml"):
        file.unlink()
    home.env["SOPS_AGE_KEY_FILE"] = str(REPOSITORY / "deploy/demo/age-key.txt")
