"""The page of one agent."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.async_api import Page, expect
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.databases import url_with
from tests.e2e.home import Home
from tests.ui.conftest import NewSite, Visit
from tests.ui.opening import commit, opened
from tests.ui.site import KEY, Site
from tests.ui.test_accessibility import violations
from tests.ui.test_signing_in import ADMIN, ANN, sign_in, users
from tests.vendors.tool_server import ToolServer

PLAIN = "llm: {provider: echo.local}\n"
DIALOG = "dialog[open]"
CASHIER = """\
name: Cashier
llm: {{provider: echo.local}}
tools:
  - name: order_status
    description: Looks an order up by its number.
    parameters:
      order_id: {{type: string, pattern: '^\\d{{6}}$', description: Six digits., examples: ['123456']}}
      lines: {{type: integer, default: 3}}
    http: {{url: "{shop}/orders/{{order_id}}"}}
  - name: refund
    parameters: {{cents: {{type: integer}}, lines: {{type: array, items: {{type: string}}, default: []}}}}
    http: {{method: POST, url: "{shop}/refunds"}}
    confirm: true
  - name: open_page
    client: true
"""


async def confirm(page: Page, action: str) -> None:
    """Press the dialog's own button, once its preview is there."""
    button = page.locator(DIALOG).get_by_role("button", name=action, exact=True)
    await expect(button).to_be_enabled()
    await button.press("Enter")


async def test_every_value_says_where_it_stands(visit: Visit, site: Site) -> None:
    """File and line beside each value; of a secret only that there is one. Another agent needs no reload."""
    page = await visit("/ui/agent?agent=acme~sales")
    key = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="api_key"))
    await expect(key).to_contain_text("**********")
    await expect(key).to_contain_text("agents.d/acme/sales.yaml:8")
    assert KEY not in await page.content()
    await expect(page.locator("#replicas")).to_contain_text("1 of 1 serve version")
    await page.evaluate("window.untouched = true")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("clerk")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Clerk")
    await expect(page.locator("#values")).to_contain_text("kokoro.local")
    await page.get_by_role("button", name="Test agent").click()
    verdict = page.locator("#verdict")
    await expect(verdict.locator("tbody tr")).to_have_count(3)
    await expect(verdict).to_contain_text("All is well.")
    assert await page.evaluate("window.untouched") is True


async def test_an_edit_on_disk_shows(visit: Visit, site: Site) -> None:
    """Its revision and diff, without a reload; a broken file with its line, and the old one serves."""
    page = await opened(visit, site, "evening.yaml", "name: Evening\nsystem_prompt: |\n  Be short.\n" + PLAIN)
    await page.evaluate("window.untouched = true")
    site.home.edit("evening.yaml", "Be short.", "Be kind.")
    newest = page.locator("#revisions > li").first
    await expect(newest).to_contain_text("-Be short.")
    await expect(newest).to_contain_text("+Be kind.")
    await expect(page.locator("#values")).to_contain_text("Be kind.")
    site.home.edit("evening.yaml", "name:", "nome:")
    await expect(page.locator("#conditions")).to_contain_text(
        "agents.d/evening.yaml:1:1 there is an unknown key"
    )
    await expect(page.get_by_role("heading", level=1)).to_have_text("Evening")
    site.home.edit("evening.yaml", "nome:", "name:")  # a broken file would hold up deletions of other tests
    await expect(page.locator("#conditions")).not_to_contain_text("unknown key")
    assert await page.evaluate("window.untouched") is True


async def test_suspend_resume_and_default(visit: Visit, site: Site) -> None:
    """Each shows its diff first, is a commit, and says so; Escape leaves all as it was."""
    page = await opened(visit, site, "desk/first.yaml", "name: First\n" + PLAIN)
    await page.get_by_role("button", name="Suspend").click()
    await expect(page.locator(f"{DIALOG} .diff .add")).to_contain_text("+active: false")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Suspend")).to_be_focused()
    assert "active" not in site.read("desk/first.yaml")
    await page.get_by_role("button", name="Suspend").press("Enter")
    await confirm(page, "Suspend")
    await expect(page.locator("#outcome")).to_contain_text("First is suspended (desk/first.yaml, commit ")
    await expect(page.locator("#marks")).to_contain_text("Suspended")
    assert "active: false" in site.git("show", "HEAD:agents.d/desk/first.yaml")
    await page.get_by_role("button", name="Resume").click()
    await confirm(page, "Resume")
    await expect(page.locator("#marks")).to_contain_text("Untested")
    await page.get_by_role("button", name="Set default").click()
    await confirm(page, "Set default")
    await expect(page.locator("#marks")).to_contain_text("default")
    await expect(page.get_by_role("button", name="Set default")).to_be_hidden()
    assert "default: true" in site.git("show", "HEAD:agents.d/desk/first.yaml")


async def test_rolling_back(visit: Visit, site: Site) -> None:
    """The file of an older revision comes back, as a commit."""
    before = "name: Morning\ngreeting: Good morning.\n" + PLAIN
    page = await opened(visit, site, "morning.yaml", before)
    await expect(page.locator("#revisions > li")).to_have_count(1)
    commit(site, "morning.yaml", before.replace("Good morning.", "What?"))
    await expect(page.locator("#revisions > li")).to_have_count(2)
    await page.get_by_role("button", name="Roll back to version").press("Enter")
    await expect(page.locator(f"{DIALOG} .diff .add")).to_have_text("+greeting: Good morning.")
    await confirm(page, "Roll back")
    await expect(page.locator("#outcome")).to_contain_text("Morning is as it was at version")
    await expect(page.locator("#outcome")).to_be_focused()
    await expect(page.locator("#revisions > li")).to_have_count(3)
    assert site.git("show", "HEAD:agents.d/morning.yaml") == before
    assert "morning" in site.git("log", "-1", "--format=%s")


async def test_deleting_is_typed(visit: Visit, site: Site) -> None:
    """Only the agent's own path deletes it; the list says what became of it."""
    page = await opened(visit, site, "desk/gone.yaml", "name: Gone\n" + PLAIN)
    await page.get_by_role("button", name="Delete").click()
    await expect(page.locator(f"{DIALOG} .diff")).to_be_visible()
    final = page.locator(DIALOG).get_by_role("button", name="Delete")
    await expect(final).to_be_disabled()
    await page.get_by_label("Type desk/gone to confirm").fill("desk/gon")
    await expect(final).to_be_disabled()
    await page.keyboard.press("End")
    await page.keyboard.type("e")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/ui/agents"))
    await expect(page.locator("#outcome")).to_contain_text("Gone is deleted (desk/gone.yaml, commit ")
    assert not (site.agents / "desk/gone.yaml").exists()


async def test_a_conflict_is_a_choice(visit: Visit, site: Site) -> None:
    """An edit in between is shown, nothing is lost, and the write goes on top of it when asked again."""
    text = "name: Contested\ngreeting: Hello.\n" + PLAIN
    page = await opened(visit, site, "contested.yaml", text)
    await page.get_by_role("button", name="Suspend").click()
    await expect(page.locator(f"{DIALOG} .diff")).to_be_visible()
    commit(site, "contested.yaml", text.replace("Hello.", "Good evening."))
    await expect(page.locator("#values")).to_contain_text("Good evening.")
    await confirm(page, "Suspend")
    await expect(page.locator(DIALOG)).to_contain_text("Nothing was written.")
    await expect(page.locator(DIALOG).get_by_role("button", name="Suspend")).to_be_disabled()
    see = page.get_by_role("button", name="Show the current version")
    await expect(see).to_be_focused()
    await see.press("Enter")
    await expect(page.locator(f"{DIALOG} .changes")).to_contain_text("Good evening.")
    assert "active" not in site.read("contested.yaml")
    await page.get_by_role("button", name="Try again on it").press("Enter")
    await confirm(page, "Suspend")
    await expect(page.locator("#marks")).to_contain_text("Suspended")
    assert site.read("contested.yaml").count("Good evening.") == 1


async def test_reading_only(visit: Visit, new_site: NewSite) -> None:
    """The file and the command instead of a write: with its diff for who may write, without for a viewer."""
    site = await new_site("--write-back", "off", prepare=_settle_readers)
    page = await visit("/ui/agent?agent=acme~sales", at=site)
    await sign_in(page, ADMIN)
    locked = page.locator("#locked")
    await expect(locked).to_contain_text("To change this agent, edit agents.d/acme/sales.yaml")
    await expect(locked.locator("pre")).to_contain_text("agentsd edit acme/sales")
    await page.get_by_role("button", name="Suspend").click()
    await expect(page.locator(f"{DIALOG} .diff .add")).to_contain_text("+active: false")
    await expect(page.locator(DIALOG).get_by_role("button", name="Suspend")).to_be_hidden()
    await page.get_by_role("button", name="Close").press("Enter")
    await expect(page.get_by_role("button", name="Suspend")).to_be_focused()
    assert "active" not in site.read("acme/sales.yaml")
    viewer = await visit("/ui/agent?agent=acme~sales", at=site)
    await sign_in(viewer, ANN)
    await expect(viewer.locator("#locked")).to_contain_text("Your token (role viewer) may read and talk only")
    await expect(viewer.locator("#locked")).to_contain_text("agents.d/acme/sales.yaml")
    await expect(viewer.locator("#actions").locator("a:visible, button:visible")).to_have_count(0)
    await viewer.goto(f"{site.url}/ui/agent?agent=acme~cashier")
    await expect(viewer.locator("#tools-card")).to_contain_text("Only an editor may run a tool by hand.")
    await expect(viewer.locator("#tools-card summary")).to_have_count(3)
    await expect(viewer.locator("#tools-card form")).to_have_count(0)


def _settle_readers(home: Home) -> None:
    users(home)
    home.write("acme/cashier.yaml", CASHIER.format(shop="http://127.0.0.1:9"))


@pytest.mark.soak
async def test_postgres_is_away(visit: Visit, new_site: NewSite) -> None:
    """All that is in memory shows; history and replicas say that they wait, and come by themselves."""
    site = await new_site()
    page = await visit("/ui/agent?agent=helper", at=site)
    await _postgres_for(site, allowed=False)
    await expect(page.locator("#banners")).to_contain_text("Postgres is away")
    await page.goto(f"{site.url}/ui/agent?agent=clerk")
    await expect(page.locator("#revisions-trouble")).to_contain_text(
        "It is shown when Postgres is available again."
    )
    await expect(page.locator("#values")).to_contain_text("kokoro.local")
    await expect(page.locator("#replicas")).to_contain_text("Unknown while Postgres is away.")
    await _postgres_for(site, allowed=True)
    await expect(page.locator("#revisions > li")).to_have_count(1)


async def _postgres_for(site: Site, *, allowed: bool) -> None:
    """Let the site's database take connections, or end them all and take none."""
    url = site.home.env["AGENTSD_DATABASE_URL"]
    name = str(conninfo_to_dict(url)["dbname"])
    admin = await psycopg.AsyncConnection.connect(url_with(url, "postgres"), autocommit=True)
    async with admin:
        await admin.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(name), sql.Literal(allowed)
            )
        )
        if not allowed:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )


async def test_the_built_in_agent(visit: Visit) -> None:
    """It has no file: nothing of it can be changed, and the page says so."""
    page = await visit("/ui/agent?agent=echo")
    await expect(page.locator("#locked")).to_contain_text("This agent is built in")
    for name in ("Suspend", "Delete", "Set default"):
        await expect(page.get_by_role("button", name=name)).to_be_hidden()
    await expect(page.locator("#actions a:visible")).to_have_count(0)


LONG = "You sell anvils to whoever asks for one. " * 20
PROSE = PLAIN.replace("{", "{{").replace("}", "}}") + "name: Prose\nsystem_prompt: |\n  {first}\n{more}"


async def test_a_diff_fits_the_page(visit: Visit, site: Site) -> None:
    """Long lines wrap, the words that changed are marked, and what is long is folded until asked for."""
    more = "".join(f"  Rule {number}.\n" for number in range(80))
    page = await opened(visit, site, "prose.yaml", PROSE.format(first=LONG.strip(), more="  End.\n"))
    changed = LONG.replace("anvils", "hammers", 1).strip()
    site.home.write("prose.yaml", PROSE.format(first=changed, more=more))
    newest = page.locator("#revisions > li").first
    await expect(newest.locator("mark").first).to_have_text("anvils")
    await expect(newest.locator("mark").nth(1)).to_have_text("hammers")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(newest).not_to_contain_text("Rule 79.")
    await newest.get_by_role("button", name=re.compile(r"^Show \d+ more lines$")).press("Enter")
    await expect(newest).to_contain_text("+Rule 79.")
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await violations(page) == []


async def test_a_prompt_file_is_read_and_edited(visit: Visit, site: Site) -> None:
    """Its text, the diff of an edit, and then the file, its commit, and the agent that has it."""
    site.home.write("prompts/polite.md", "Be polite.\nBe brief.\n")
    site.git("add", "-A", "--", "agents.d/prompts")
    site.git("commit", "-q", "-m", "a prompt", "--", "agents.d/prompts")
    page = await opened(
        visit, site, "polite.yaml", "name: Polite\nsystem_prompt_file: prompts/polite.md\n" + PLAIN
    )
    button = page.get_by_role("button", name="Show and edit: prompts/polite.md")
    await button.press("Enter")
    text = page.get_by_label("System prompt")
    await expect(text).to_have_value("Be polite.\nBe brief.\n")
    await text.fill("Be polite.\nBe very brief.\n")
    await page.locator(DIALOG).get_by_role("button", name="Review").press("Enter")
    await expect(page.locator(DIALOG).locator("mark")).to_have_text(" very")
    assert await violations(page) == []
    await confirm(page, "Save")
    await expect(page.locator("#outcome")).to_contain_text("prompts/polite.md is written")
    assert site.read("prompts/polite.md") == "Be polite.\nBe very brief.\n"
    assert "write-text polite" in site.git("log", "-1", "--format=%s", "--", "agents.d/prompts/polite.md")
    await expect(page.locator("#revisions > li").first).to_contain_text("by default/local")


async def test_of_files_with_one_name_the_named_one_is_shown(visit: Visit, site: Site) -> None:
    """A file in a folder of the same name is another one."""
    site.home.write("tone/twin.md", "In the folder.\n")
    site.home.write("twin.md", "At the top.\n")
    text = "name: Twin\nsystem_prompt_file: tone/twin.md\nrag: {sources: [twin.md]}\n" + PLAIN
    page = await opened(visit, site, "twin.yaml", text)
    await page.get_by_role("button", name="Show and edit: twin.md").press("Enter")
    await expect(page.get_by_role("textbox", name="Knowledge")).to_have_value("At the top.\n")


async def test_an_edit_that_is_not_committed_names_no_commit(visit: Visit, site: Site) -> None:
    """HEAD does not contain it."""
    page = await opened(visit, site, "draft.yaml", "name: Draft\n" + PLAIN)
    site.home.edit("draft.yaml", "Draft", "Drafted")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Drafted")
    await expect(page.locator("#overview")).to_contain_text("not committed")
    await expect(page.locator("#revisions > li").first).to_contain_text("not committed")


async def test_a_tool_is_tried(visit: Visit, site: Site) -> None:
    """By its inputs: result and duration; what may change something is asked first; a client's is listed."""
    async with ToolServer() as shop:
        shop.answers["/orders/123456"] = {"state": "shipped"}
        page = await opened(visit, site, "cashier.yaml", CASHIER.format(shop=shop.url))
        card = page.locator("#tools-card")
        await card.locator("summary", has_text="order_status").press("Enter")
        await expect(card.get_by_label("order_id")).to_have_value("123456")
        look = card.get_by_role("button", name="Try order_status")
        await look.press("Enter")
        result = card.get_by_role("form", name="Try order_status").get_by_role("status")
        await expect(result).to_contain_text('{"state": "shipped"}')
        await expect(result).to_contain_text(re.compile(r"ok \d+ ms"))
        await expect(look).to_be_focused()
        assert shop.last.query == {"lines": "3"}
        await card.get_by_label("order_id").fill("../12")
        await look.press("Enter")
        await expect(result).to_contain_text("invalid arguments")
        sent = len(shop.requests)

        await card.locator("summary", has_text="refund").press("Enter")
        refund = card.get_by_role("form", name="Try refund")
        await refund.get_by_label("cents").fill("250")
        await refund.get_by_label("lines").fill("[oops")
        await refund.get_by_role("button").press("Enter")
        await expect(refund.get_by_role("alert").filter(has_text="This is not JSON.")).to_be_visible()
        await expect(refund.get_by_label("lines")).to_be_focused()
        await refund.get_by_label("lines").fill('["shoes"]')
        await refund.get_by_role("button").press("Enter")
        await expect(page.locator(DIALOG)).to_contain_text('"shoes"')
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        assert len(shop.requests) == sent
        await refund.get_by_role("button").press("Enter")
        await confirm(page, "Run")
        await expect(refund.get_by_role("status")).to_contain_text("/refunds")
        assert shop.last.body == {"cents": 250, "lines": ["shoes"]}

        await card.locator("summary", has_text="open_page").press("Enter")
        await expect(card).to_contain_text("Run by your application")
        await expect(card.get_by_role("button")).to_have_count(2)
        assert await violations(page) == []
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
