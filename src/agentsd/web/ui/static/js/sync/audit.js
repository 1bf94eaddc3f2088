// The audit: newest first, in pages, of one agent where its name is given.

import { get, inPath } from "../api.js";
import { isNullish } from "../data.js";
import { byId, debounced, fill, h } from "../dom.js";
import { short } from "../format.js";
import { notice, when } from "../marks.js";

const PAGE = 20;
const TYPING_MS = 250;
const TOGETHER_MS = 300;
const TONES = { done: "good", refused: "bad", failed: "bad" };

/** Draw `#audit`; `refresh()` loads new entries. */
export function mountAudit() {
  const state = { items: [], next: null, asked: 0 };
  const field = byId("audit-agent", HTMLInputElement);
  const place = byId("audit");
  field.addEventListener("input", debounced(anew, TYPING_MS));
  anew();
  return { refresh: debounced(refresh, TOGETHER_MS) };

  async function anew() {
    Object.assign(state, { items: [], next: null });
    await load((page) => { state.items = page.items; state.next = page.next_cursor; });
  }

  /** Put new entries above those that are shown. */
  async function refresh() {
    await load((page) => {
      const known = new Set(state.items.map((one) => one.id));
      const fresh = page.items.filter((one) => !known.has(one.id));
      if (!fresh.length && state.items.length) return;
      const gap = fresh.length === page.items.length; // there are more than a page contains
      state.items = gap ? page.items : [...fresh, ...state.items];
      if (gap) state.next = page.next_cursor;
    });
  }

  async function older() {
    await load((page) => { state.items = [...state.items, ...page.items]; state.next = page.next_cursor; }, state.next);
    place.querySelector("button")?.focus();
  }

  async function load(take, cursor = null) {
    const asked = (state.asked += 1);
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (field.value.trim()) query.set("agent", field.value.trim());
    if (cursor !== null) query.set("cursor", cursor);
    try {
      const page = await get(`/api/audit?${query}`);
      if (asked !== state.asked) return;
      take(page);
      draw();
    } catch (problem) {
      if (asked !== state.asked) return;
      if (problem.status === 503) fill(place, h("p.soft", {}, "The audit is unavailable until Postgres is back."));
      else fill(place, notice(problem));
    }
  }

  function draw() {
    if (!state.items.length) {
      fill(place,
        h("p.soft", {},
          field.value.trim()
            ? `No visible entries for ${field.value.trim()}.`
            : "Nothing was written through the API or the commands yet."));
      return;
    }
    const names = ["When", "Who", "What", "Outcome", "Version", "Commit"];
    fill(place,
      h("table.cards.audit", {}, h("caption.visually-hidden", {}, "Audit entries, newest first"),
        h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, state.items.map(row))),
      state.next === null ? null : h("div.row", {}, h("button.small", { type: "button", onclick: older }, "Older")));
  }
}

function row(entry) {
  const cell = (label, ...content) => h("td", { class: content[0] === "–" ? "none" : "", dataset: { label } }, content);
  const versions = [entry.from_version, entry.to_version].filter((one) => !isNullish(one)).join(" → ");
  return h("tr", { dataset: { entry: entry.id } },
    cell("When", when(entry.at)),
    cell("Who", h("code", {}, entry.actor)),
    cell("What", entry.action, " ", target(entry)),
    cell("Outcome",
      entry.outcome ? h("span.badge", { class: TONES[entry.outcome] }, entry.outcome) : "–",
      entry.code ? h("span.soft.small", {}, ` ${entry.status ?? ""} ${entry.code}`) : null),
    cell("Version", versions || "–"),
    cell("Commit", entry.commit ? h("code", { title: entry.commit }, short(entry.commit)) : "–"));
}

function target(entry) {
  if (!entry.target || entry.target.includes(":")) return h("code", {}, entry.target);
  return h("a", { href: `/ui/agent?agent=${inPath(entry.target)}` }, entry.target);
}
