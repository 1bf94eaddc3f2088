// The list as the API returns it, page by page, and again when agents change.

import { get } from "../api.js";

export const PAGE = 50;
const AT_ONCE = 1000; // the most that the API returns in one reply
const QUIET_MS = 200; // many agents may change at once

/** `show(list)` after each answer, `fail(problem)` after each failure. `list`: `{ items, total, refused, more }`. */
export function agentList(show, fail) {
  let query = {};
  let kept = { items: [], total: 0, refused: 0, cursor: null };
  let turn = 0;
  let waiting = null;
  let stale = false;

  /** Load from the start, at least `size` rows. */
  function load(next, size = PAGE) {
    query = next;
    return renewed(size);
  }

  /** Load the next page. */
  async function more() {
    const mine = (turn += 1);
    await settled(mine, async () => {
      const found = await page(query, PAGE, kept.cursor);
      return { ...found, items: [...kept.items, ...found.items] };
    });
  }

  /** Load the same rows again, soon; once more if agents change meanwhile. */
  function refresh() {
    stale = true;
    waiting ??= setTimeout(async () => {
      while (stale) {
        stale = false;
        await renewed(kept.items.length);
      }
      waiting = null;
    }, QUIET_MS);
  }

  async function renewed(size) {
    const mine = (turn += 1);
    await settled(mine, () => first(query, Math.max(size, PAGE)));
  }

  async function settled(mine, work) {
    try {
      const found = await work();
      if (mine !== turn) return; // a later request is in progress
      kept = found;
      show({ items: kept.items, total: kept.total, refused: kept.refused, more: kept.cursor !== null });
    } catch (problem) {
      if (mine === turn) fail(problem);
    }
  }

  return { load, more, refresh, size: () => kept.items.length };
}

async function first(query, size) {
  let found = await page(query, Math.min(size, AT_ONCE), null);
  while (found.items.length < size && found.cursor !== null) {
    const next = await page(query, Math.min(size - found.items.length, AT_ONCE), found.cursor);
    found = { ...next, items: [...found.items, ...next.items] };
  }
  return found;
}

async function page(query, limit, cursor) {
  const said = new URLSearchParams({ limit: String(limit), view: "summary", refused: "true" });
  for (const [name, value] of Object.entries(query)) if (value) said.set(name, value);
  if (cursor !== null) said.set("cursor", cursor);
  const found = await get(`/api/agents?${said}`);
  return { items: found.items, total: found.total, refused: found.refused, cursor: found.next_cursor };
}
