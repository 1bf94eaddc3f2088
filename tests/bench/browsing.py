"""The pages over 10,000 agents, in a real browser: until the list is there, and until the switcher answers.

The clock is the page's own. A visit is a new browser context: nothing is cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from playwright.async_api import Browser

from tests.bench.fleet import fleet
from tests.bench.processes import settle, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.ui import chromium

WATCH = """
const seen = (selector, done) => {
  const look = () => {
    if (document.querySelector(selector)) { done(performance.now()); watcher.disconnect(); }
  };
  const watcher = new MutationObserver(look);
  watcher.observe(document, { childList: true, subtree: true });
  look();
};
globalThis.usable = new Promise((done) => seen("table.agents tbody tr", done));
"""
TYPED = """
(text) => new Promise((done) => {
  const field = document.querySelector(".switcher-panel input");
  const list = document.querySelector(".switcher-list");
  const fits = () => list.children.length
    && [...list.children].every((one) => one.dataset.slug.includes(text));
  const began = performance.now();
  const watcher = new MutationObserver(() => {
    if (fits()) { watcher.disconnect(); done(performance.now() - began); }
  });
  watcher.observe(list, { childList: true });
  field.value = text;
  field.dispatchEvent(new Event("input"));
})
"""


def run(scale: Scale) -> Sequence[Figure]:
    """The list and the switcher, in a browser."""
    made = fleet(scale.agents)
    with workspace() as folder, up(made, folder) as server:
        settle(server, made.count)
        lists, typed = asyncio.run(_visit(server.url, scale.samples // 5))
    agents = f"{made.count:,} agents"
    return [
        Figure(f"{agents}: a visit until the list is usable, p50", p50(lists), "ms", 1000),
        Figure("  p99", p99(lists), "ms", 1000),
        Figure("  a key in the switcher until its answer, p50", p50(typed), "ms", 200),
        Figure("  p99", p99(typed), "ms", 200),
    ]


async def _visit(url: str, visits: int) -> tuple[list[float], list[float]]:
    async with chromium.browser() as browser:
        lists, typed = [], []
        for number in range(visits):
            listed, told = await _once(browser, url, str(number % 10))
            lists.append(listed)
            typed += told
    return lists, typed


async def _once(browser: Browser, url: str, digit: str) -> tuple[float, list[float]]:
    """Milliseconds until the list, and of each text that is typed into the switcher."""
    context = await browser.new_context()
    try:
        await context.add_init_script(WATCH)
        page = await context.new_page()
        await page.goto(f"{url}/ui/agents")
        usable = await page.evaluate("usable")
        await page.locator(".switcher-button").click()
        await page.locator(".switcher-list li").first.wait_for()
        return usable, [await page.evaluate(TYPED, text) for text in ("agent-", f"agent-{digit}")]
    finally:
        await context.close()


if __name__ == "__main__":
    main(run)
