"""/ui/sync: what happens to files, database and replicas shows by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from playwright.async_api import expect

from tests.e2e.home import echo
from tests.ui.conftest import NewSite, Visit
from tests.ui.site import KEY, SALES, Site, Vendors
from tests.ui.test_signing_in import ANN, sign_in, users

LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
"""As somebody who comes back to the page: nothing waits for its period."""

BROKEN = "name: Broken\nllm:\n  provider: ecko.local\n"


async def test_a_broken_file_comes_and_goes(visit: Visit, site: Site) -> None:
    """With file, line, column and what to do, without a reload; mended, it is gone; both runs are listed."""
    page = await visit("/ui/sync")
    await expect(page.locator("#summary")).to_contain_text("serves version")
    await page.evaluate("window.untouched = true")
    site.home.write("fragile.yaml", BROKEN)
    fault = page.locator('#faults [data-path="fragile.yaml"]')
    await expect(fault).to_contain_text("agents.d/fragile.yaml:3:13")
    await expect(fault).to_contain_text("unknown provider 'ecko.local' [unknown-provider]")
    await expect(fault).to_contain_text("Did you mean 'echo.local'?")
    await expect(page.locator("#summary")).to_contain_text("set aside")
    await expect(page.locator("#runs tbody tr").first).to_contain_text("1 set aside")
    await page.get_by_role("button", name="Look now").click()
    await expect(page.locator("#plan")).to_contain_text("agents.d/fragile.yaml:3:13")
    site.home.edit("fragile.yaml", "ecko", "echo")
    await expect(fault).to_have_count(0)
    await expect(page.locator("#runs tbody tr").first).to_contain_text("1 created")
    await expect(page.locator("#plan")).to_contain_text("Nothing to do")
    assert await page.evaluate("window.untouched") is True


async def test_the_fleet_moves(visit: Visit, new_site: NewSite) -> None:
    """Two replicas on one database: both are shown, and both come to the new version after an edit."""
    site = await new_site()
    await site.home.serve(site.home.env["AGENTSD_DATABASE_URL"])
    page = await visit("/ui/sync", at=site)
    lanes, rows = page.locator(".lanes .lane"), page.locator(".replicas tbody tr")
    await expect(lanes).to_have_count(2)
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("answers this page")
    await page.evaluate("""() => {
        window.fell = new Set();
        const behind = () => document.querySelectorAll(".lane.behind");
        const look = () => behind().forEach((one) => window.fell.add(one.dataset.replica));
        const lanes = document.querySelector(".lanes");
        new MutationObserver(look).observe(lanes, { subtree: true, attributeFilter: ["class"] });
    }""")
    site.home.edit("helper.yaml", "Heard", "I heard")
    await expect(page.locator(".tick.newest")).to_have_text("version 2")
    for index in range(2):
        await expect(lanes.nth(index)).to_have_attribute("data-version", "2")
        await expect(page.locator(".runner").nth(index)).to_have_text("2")
        await expect(rows.nth(index)).to_contain_text("version 2 newest")
    await expect(page.locator("#summary")).to_contain_text("2 replicas serve version 2")
    assert await page.evaluate("window.fell.size") == 2


async def test_drift_and_what_is_not_applied_show_in_the_plan(
    visit: Visit, new_site: NewSite, vendors: Vendors
) -> None:
    """On a server that only serves: an edited row, a changed file, one set aside; a new key is not told."""
    site = await new_site()
    database = site.home.env["AGENTSD_DATABASE_URL"]
    await site.process.stop()
    _, url = await site.home.serve(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE agents SET name = 'Mallory' WHERE slug = 'helper'")
    site.home.write("fragile.yaml", BROKEN)
    site.home.write("fresh.yaml", echo("Hello"))
    sales = SALES.format(llm=vendors.llm.url, key=f"{KEY}2")
    site.home.write("acme/sales.yaml", site.home.keys.seal(sales))
    page = await visit("/ui/sync", at=Site(site.home, site.process, url))
    plan = page.locator("#plan")
    await expect(plan).to_contain_text("1 to create")
    await expect(plan.locator("li", has_text="helper").first).to_contain_text("Mallory → Helper")
    await expect(plan.locator("li", has_text="fresh").first).to_contain_text("create")
    await expect(plan).to_contain_text("agents.d/fragile.yaml:3:13")
    await expect(plan.locator("li", has_text="acme/sales").first).to_contain_text(
        "llm.api_key secret changed"
    )
    await expect(plan).to_contain_text("No daemon syncs this source")
    assert KEY not in await page.content()


@contextmanager
def away(postgres_url: str, database: str) -> Iterator[None]:
    """The site's database ends all its connections, and takes no new ones."""
    name = database.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_without_postgres(visit: Visit, new_site: NewSite, postgres_url: str) -> None:
    """A banner, and what is known from memory; when it is back, everything else is there again."""
    site = await new_site()
    page = await visit("/ui/sync", at=site)
    await expect(page.locator(".replicas tbody tr")).to_have_count(1)
    with away(postgres_url, site.home.env["AGENTSD_DATABASE_URL"]):
        await page.evaluate(LOOK)
        await expect(page.locator("#summary")).to_contain_text("Postgres is away")
        await expect(page.locator("#head")).to_contain_text("version 1, 4 agents")
        await expect(page.locator("#fleet")).to_contain_text("unknown until Postgres is back")
        await expect(page.locator("#audit")).to_contain_text("unavailable until Postgres is back")
        await page.get_by_role("button", name="Look now").click()
        await expect(page.locator("#plan .notice")).to_be_visible()
        await page.evaluate(LOOK)
        await expect(page.locator("#banners")).to_contain_text("Postgres is away")
    await expect(page.locator("#summary")).to_contain_text("Everything is in sync")
    await expect(page.locator(".replicas tbody tr")).to_have_count(1)


async def test_the_audit_is_live_and_filtered(visit: Visit, site: Site) -> None:
    """An audit entry appears as it is recorded; of one agent, only its own are shown."""
    page = await visit("/ui/sync")
    for name in ("audited", "other"):
        done = await page.request.post(
            f"{site.url}/api/agents", data={"name": name, "llm_provider_config": {"provider": "echo.local"}},
            headers={"Origin": site.url},
        )  # fmt: skip
        assert done.status == 201, await done.text()
    rows = page.locator("#audit tbody tr")
    await expect(rows.filter(has_text="audited")).to_have_count(1)
    await expect(rows.filter(has_text="other")).to_have_count(1)
    await page.get_by_label("Only of this agent").fill("audited")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("done")
    await page.get_by_label("Only of this agent").fill("nobody")
    await expect(page.locator("#audit")).to_contain_text("No visible entries for nobody")


async def test_who_is_no_admin_sees_what_concerns_them(visit: Visit, new_site: NewSite) -> None:
    """Neither hosts nor leaders nor the plan, nor a file of others; what is empty for them is left out."""
    site = await new_site(prepare=users)
    site.home.write("fragile.yaml", BROKEN)
    site.home.write("acme/fragile.yaml", BROKEN)
    page = await visit("/ui/sync", at=site)
    await sign_in(page, ANN)
    await expect(page.locator(".replicas tbody tr")).to_contain_text("Replica 1 (answers this page)")
    await expect(page.locator("#faults")).to_contain_text("agents.d/acme/fragile.yaml:3:13")
    assert "agents.d/fragile.yaml" not in await page.content()
    await expect(page.locator("#plan-section")).to_be_hidden()
    await expect(page.locator("#head")).not_to_contain_text("Leaders")
    await expect(page.locator("#runs th", has_text="Took")).to_have_count(0)
