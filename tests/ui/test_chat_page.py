"""The page to chat, against real agents: streams, Markdown, citations, switches, faults and what is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

from tests.ui.conftest import Visit
from tests.ui.site import Site, Vendors
from tests.ui.test_accessibility import violations
from tests.vendors.base import Fault
from tests.vendors.openai_server import Call
from tests.vendors.tool_server import ToolServer

HOSTILE = """\
# Opening hours

- **Monday** at `nine`
- ~~Sunday~~

| Day | Opens |
|:----|------:|
| Monday | 9:00 |

```python
open = "<b>nine</b>"
```

[good](https://example.org/) [x](javascript:pwned=1) ![y](https://example.org/y.png)
<script>window.pwned = 1</script><img src=x onerror="window.pwned=1"><a href="javascript:pwned=1">z</a>
"""

Gate = Callable[[], asyncio.Event]


@pytest.fixture
def gate(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """``gate()``: the next answer of the vendor stops after its first words, until the event is set."""

    def shut() -> asyncio.Event:
        opened = asyncio.Event()
        passed = 0

        async def pause() -> None:
            nonlocal passed
            passed += 1
            if passed > 3:
                await opened.wait()

        monkeypatch.setattr(vendors.llm, "pause", pause)
        return opened

    return shut


async def ask(page: Page, text: str) -> None:
    """Write it, and press Enter."""
    await page.get_by_label("Message").fill(text)
    await page.get_by_label("Message").press("Enter")


def answers(page: Page) -> Locator:
    """The answers in the transcript."""
    return page.locator(".answer")


async def ended(page: Page) -> None:
    """No answer is coming any more."""
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(page.locator("[aria-busy]")).to_have_count(0)


async def switch(page: Page, name: str) -> None:
    """Another agent, by keyboard."""
    await page.keyboard.press("Control+k")
    await page.keyboard.type(name)
    await expect(page.get_by_role("option")).to_have_text([re.compile(name)])  # nothing of an earlier list
    await page.keyboard.press("Enter")
    await expect(page.locator(".switcher-button")).to_contain_text(name, ignore_case=True)


async def test_markdown_is_shown_and_inert(
    visit: Visit, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's headings, lists, tables and code are elements; its HTML and its scripts are text."""
    monkeypatch.setattr(vendors.llm, "words", tuple(re.findall(r"\s*\S+\s*", HOSTILE)))
    page = await visit("/ui/chat?agent=clerk")
    await ask(page, "<img src=x onerror='pwned=1'>")
    await ended(page)
    answer = answers(page)
    await expect(answer.locator("h3")).to_have_text("Opening hours")
    await expect(answer.locator("li")).to_have_text(["Monday at nine", "Sunday"])
    await expect(answer.locator("li strong, li code, li s")).to_have_text(["Monday", "nine", "Sunday"])
    await expect(answer.locator("td.right")).to_have_text("9:00")
    await expect(answer.locator("pre code")).to_have_text('open = "<b>nine</b>"\n')
    links = await answer.locator(".prose a").evaluate_all("all => all.map(one => [one.href, one.rel])")
    harmless = "noopener noreferrer nofollow"
    assert links == [["https://example.org/", harmless], ["https://example.org/y.png", harmless]]
    await expect(answer).to_contain_text("<script>window.pwned = 1</script><img src=x")
    assert await page.locator("#transcript :is(script, img, iframe, [onerror], .prose b)").count() == 0
    assert await page.evaluate("window.pwned") is None


async def test_markdown_is_rendered_once_when_the_answer_is_complete(
    visit: Visit, vendors: Vendors, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it streams, an answer is plain text, and costs the server no request; then it is elements."""
    monkeypatch.setattr(vendors.llm, "words", ("One ", "**two** ", "\n\n", "- three", " four"))
    opened = gate()
    page = await visit("/ui/chat?agent=clerk")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/markdown" in request.url else None)
    await ask(page, "Count")
    await expect(answers(page)).to_contain_text("One **two**")
    assert asked == []
    opened.set()
    await ended(page)
    await expect(answers(page).locator("strong")).to_have_text("two")
    await expect(answers(page).locator("li")).to_have_text(["three four"])
    assert len(asked) == 1


async def test_citations_open(visit: Visit) -> None:
    """A mark opens its passage beside the text, Escape leads back; a mark without a passage stays text."""
    page = await visit("/ui/chat?agent=librarian")
    await ask(page, "When are you open? [1] [7]")
    await ended(page)
    mark = answers(page).get_by_role("button", name="Source 1: knowledge/faq.md › Opening hours")
    await mark.press("Enter")
    passage = page.get_by_role("dialog", name="Source 1")
    await expect(passage).to_contain_text("on weekdays from nine to five")
    await page.keyboard.press("Escape")
    await expect(passage).to_have_count(0)
    await expect(mark).to_be_focused()
    sources = answers(page).get_by_role("group", name="Sources")
    await sources.locator("summary").first.click()
    await expect(sources.locator("blockquote").first).to_contain_text("on weekdays from nine to five")
    await expect(answers(page)).to_contain_text("[7]")


async def test_the_agent_is_switched_in_mid_answer(visit: Visit, vendors: Vendors, gate: Gate) -> None:
    """The answer under way ends on its own agent; the next says who answers, and knows what was said."""
    opened = gate()
    page = await visit("/ui/chat?agent=clerk")
    await ask(page, "Who are you?")
    await expect(answers(page)).to_contain_text("This")
    await switch(page, "librarian")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    opened.set()
    await ended(page)
    await expect(answers(page)).to_contain_text("This is a test.")
    await expect(answers(page)).to_contain_text(re.compile(r"first token \d.* in all"))
    await ask(page, "And you?")
    await ended(page)
    await expect(page.locator(".note")).to_have_text(re.compile(r"^now answered by librarian v\d+$"))
    await expect(page.locator(".who-answers")).to_contain_text(["clerk", "librarian"])
    await switch(page, "clerk")
    await ask(page, "Hello again")
    await ended(page)
    roles = [one["role"] for one in vendors.llm.last.body["messages"]]
    assert roles[-5:] == ["user", "assistant", "user", "assistant", "user"]


async def test_an_agent_hands_over_in_mid_answer(visit: Visit, site: Site, vendors: Vendors) -> None:
    """One answer, which has the name of the agent that ended it."""
    llm = f"llm: {{provider: openai-compatible, model: m, api_url: {vendors.llm.url}}}\n"
    site.home.write("till.yaml", f"name: Till\n{llm}")
    site.home.write("counter.yaml", f"name: Counter\n{llm}handoff: [{{to: till, when: somebody pays}}]\n")
    vendors.llm.script = [["One moment.", Call("transfer_to_till")], ["It is paid."]]
    page = await visit("/ui/users")
    served = "async () => { while (!(await fetch('/api/agents/counter')).ok); }"
    await page.evaluate(served)
    await page.goto(f"{site.url}/ui/chat?agent=counter")
    await ask(page, "I would like to pay.")
    await ended(page)
    await expect(answers(page)).to_contain_text("One moment.")
    await expect(answers(page)).to_contain_text("It is paid.")
    await expect(page.locator(".who-answers")).to_contain_text("till")


async def test_a_new_version_is_noted(visit: Visit, site: Site) -> None:
    """A file that is edited on disk answers from then on, and the transcript says so."""
    site.home.write("edited.yaml", 'name: Edited\nllm: {provider: echo.local, reply: "One"}\n')
    page = await visit("/ui/chat")
    await expect(page.locator(".switcher-button")).to_be_visible()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("edited")
    await page.get_by_role("option", name="Edited").click()
    await expect(page.locator(".switcher-button")).to_contain_text("Edited")
    await ask(page, "Hello")
    await expect(answers(page)).to_contain_text("One")
    site.home.write("edited.yaml", 'name: Edited anew\nllm: {provider: echo.local, reply: "Two"}\n')
    await expect(page.locator(".switcher-button")).to_contain_text("Edited anew")
    await ask(page, "Hello")
    await expect(answers(page).last).to_contain_text("Two")
    await expect(page.locator(".note")).to_have_text(re.compile(r"^edited changed: v\d+ → v\d+$"))


async def test_stop_and_retry(visit: Visit, vendors: Vendors, gate: Gate) -> None:
    """What came before Stop is kept and marked; Retry puts a whole answer in its place."""
    opened = gate()
    page = await visit("/ui/chat?agent=clerk")
    await ask(page, "Hello")
    await expect(answers(page)).to_contain_text("This")
    await page.get_by_role("button", name="Stop").click()
    await ended(page)
    await expect(answers(page).locator(".badge")).to_have_text("stopped")
    await expect(page.get_by_label("Message")).to_be_focused()
    opened.set()
    await page.get_by_role("button", name="Retry").click()
    await expect(answers(page)).to_contain_text("This is a test.")
    await expect(answers(page)).to_have_count(1)
    assert vendors.llm.last.body["messages"] == [{"role": "user", "content": "Hello"}]


async def test_faults_are_shown_in_their_place(
    visit: Visit, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an answer or before it: what came, what went wrong, and Retry, which helps."""
    page = await visit("/ui/chat?agent=clerk")
    for fault, came in ((Fault.EARLY_CLOSE, "This"), (Fault.UNAUTHORIZED, "")):
        monkeypatch.setattr(vendors.llm, "fault", fault)
        await ask(page, "Hello")
        await expect(answers(page).last.get_by_role("alert")).not_to_be_empty()
        await expect(answers(page).last.locator(".prose")).to_have_text(came)
        monkeypatch.setattr(vendors.llm, "fault", None)
        await page.get_by_role("button", name="Retry").click()
        await expect(answers(page).last).to_contain_text("This is a test.")
        await ended(page)
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_an_answer_that_is_cut_is_an_error(visit: Visit) -> None:
    """A stream without its end mark, as a proxy leaves it, does not pass for a whole answer."""
    page = await visit("/ui/chat?agent=helper")
    half = 'data: {"choices":[{"delta":{"content":"Half"}}]}\n\n'
    await page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=half)
    )
    await ask(page, "Hello")
    await expect(answers(page).get_by_role("alert")).to_contain_text("The answer was cut short")
    await expect(answers(page).locator(".prose")).to_have_text("Half")


async def test_conversations_are_kept(visit: Visit) -> None:
    """A reload shows all of it; it can be renamed, left for a new one, found again, and deleted."""
    page = await visit("/ui/chat?agent=helper")
    await ask(page, "First question")
    await ended(page)
    kept = page.url
    assert "chat=" in kept
    await page.reload()
    await expect(answers(page)).to_contain_text("Heard: First question")
    await page.get_by_role("button", name="Rename First question").click()
    await page.get_by_label("Title").fill("Mine")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="New chat").click()
    await expect(answers(page)).to_have_count(0)
    assert "chat=" not in page.url
    await page.get_by_role("link", name="Mine").click()
    await expect(answers(page)).to_contain_text("Heard: First question")
    assert page.url == kept
    await page.get_by_role("button", name="Delete Mine").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator(".history-list")).to_contain_text("None yet")
    await expect(answers(page)).to_have_count(0)
    assert "First question" not in await page.evaluate("JSON.stringify(localStorage)")


async def test_by_keyboard_alone(visit: Visit) -> None:
    """Lines, sending, and asking the last question in other words; the focus stays where one writes."""
    page = await visit("/ui/chat?agent=helper")
    field = page.get_by_label("Message")
    await expect(field).to_be_focused()
    await page.keyboard.type("One")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("Two")
    await page.keyboard.press("Enter")
    await ended(page)
    await expect(page.locator(".question .said")).to_have_text("One\nTwo", use_inner_text=True)
    await expect(field).to_be_focused()
    await page.get_by_role("button", name="Edit").press("Enter")
    await expect(field).to_have_value("One\nTwo")
    await expect(field).to_be_focused()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("Three")
    await page.keyboard.press("Enter")
    await expect(answers(page)).to_contain_text("Heard: Three")
    await expect(answers(page)).to_have_count(1)
    await expect(page.locator("#spoken")).to_have_text("Heard: Three")


KEEPING = """async () => {
  const page = document.querySelector("script[type=module]").src;
  const { fresh, Store } = await import(page.replace("pages/chat.js", "chat/store.js"));
  const store = new Store("somebody");
  const keep = (size, count) => {
    const turns = Array(count).fill({ role: "user", text: "x".repeat(size) });
    const one = { ...fresh(), turns };
    store.save(one);
    const all = store.all();
    return [all.length, all[0].id === one.id, all[0].turns.length];
  };
  for (let number = 0; number < 60; number += 1) keep(10, 1);
  return [keep(400000, 1), keep(700000, 1), keep(400000, 4)];
}"""


async def test_what_is_kept_is_bounded(visit: Visit) -> None:
    """The latest fifty, and a million characters: the oldest go, and what a long one begins with."""
    page = await visit("/ui/chat?agent=helper")
    assert await page.evaluate(KEEPING) == [[50, True, 1], [1, True, 1], [1, True, 2]]


TOOLS = """\
tools:
  - name: order_status
    parameters: {{order_id: {{type: string}}}}
    http: {{url: "{shop}/orders/{{order_id}}"}}
  - name: refund
    http: {{method: POST, url: "{shop}/refunds"}}
    confirm: true
  - name: open_page
    client: true
"""


async def test_calls_of_tools_are_folded(visit: Visit, site: Site, vendors: Vendors) -> None:
    """Each with its outcome and time, inside its arguments and result; kept; a user can agree to one."""
    async with ToolServer() as shop:
        shop.answers["/orders/7"] = {"state": "shipped"}
        llm = f"llm: {{provider: openai-compatible, model: m, api_url: {vendors.llm.url}}}\n"
        site.home.write("shopkeeper.yaml", f"name: Shopkeeper\n{llm}{TOOLS.format(shop=shop.url)}")
        page = await visit("/ui/users")
        await page.evaluate("async () => { while (!(await fetch('/api/agents/shopkeeper')).ok); }")
        await page.goto(f"{site.url}/ui/chat?agent=shopkeeper")
        look = Call("order_status", '{"order_id": "7"}')
        vendors.llm.script = [[look, Call("nothing", id="call_2")], [Call("refund")], ["It is on its way."]]
        await ask(page, "Where is it?")
        await ended(page)
        calls = answers(page).get_by_role("group", name="Tool calls").locator("details")
        await expect(calls.locator("summary")).to_have_text(
            [
                re.compile(r"order_status ok \d+ ms"),
                re.compile(r"nothing unknown tool"),
                re.compile(r"refund confirmation required"),
            ]
        )
        await calls.first.locator("summary").press("Enter")
        await expect(calls.first.get_by_role("region", name="Arguments")).to_have_text('{"order_id": "7"}')
        await expect(calls.first.get_by_role("region", name="Result")).to_have_text('{"state": "shipped"}')
        await expect(answers(page).locator(".prose")).to_have_text("It is on its way.")
        assert await violations(page) == []
        await page.reload()
        await expect(calls).to_have_count(3)
        vendors.llm.script = [[Call("refund")], ["Done."]]
        await ask(page, "Yes, please.")
        await ended(page)
        await expect(answers(page).last.locator("summary")).to_have_text(re.compile(r"refund ok \d+ ms"))
        assert shop.last.path == "/refunds"
        vendors.llm.script = [[Call("open_page", '{"path": "/"}')]]
        await ask(page, "Open it.")
        await ended(page)
        await expect(answers(page).last.locator("summary")).to_have_text("open_page left to your application")
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
