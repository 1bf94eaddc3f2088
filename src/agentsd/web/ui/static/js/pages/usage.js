import { get } from "../api.js";
import { byId, fill, h } from "../dom.js";
import { count } from "../format.js";
import { notice } from "../marks.js";
import { barPlot } from "../plot.js";
import { boot } from "../shell.js";

const TITLES = { agent: "Agent", owner: "Owner", token: "Token", provider: "Provider" };
const DAY_MS = 86_400_000;
const STEADY_MS = 5000;
const NAMES = ["by", "days", "agent"];

const session = await boot();
const form = byId("choice", HTMLFormElement);
const field = (name) => /** @type {HTMLInputElement | HTMLSelectElement} */ (form.elements[name]);
let asked = 0;
let shown = "";

/** Return the query of the API for the chosen days. */
function query(by, extra = {}) {
  const last = new Date();
  const first = new Date(last.getTime() - (Number(field("days").value) - 1) * DAY_MS);
  const said = new URLSearchParams({ by, from: day(first), to: day(last), ...extra });
  const agent = field("agent").value.trim();
  if (agent) said.set("agent", agent);
  return `/api/usage?${said}`;
}

const day = (date) => date.toISOString().slice(0, 10);
const dollars = (cost) => (cost > 0 && cost < 0.01 ? "< $0.01" : `$${cost.toFixed(2)}`);

async function look() {
  const mine = (asked += 1);
  const by = field("by").value;
  byId("csv", HTMLAnchorElement).href = query(`${by},day`, { format: "csv" });
  try {
    const [days, groups] = await Promise.all([get(query("day")), get(query(by))]);
    if (mine !== asked) return;
    fill(byId("trouble"));
    if (shown === JSON.stringify([days, groups])) return; // what is being read stays as it is
    fill(byId("plots"), plots(days));
    fill(byId("table"), table(groups, by));
    shown = JSON.stringify([days, groups]);
  } catch (problem) {
    if (mine === asked) fill(byId("trouble"), notice(problem));
  }
}

function plots({ items, since, until, total }) {
  const known = new Map(items.map((item) => [item.day, item]));
  const days = [];
  for (let at = Date.parse(since); at <= Date.parse(until); at += DAY_MS) days.push(day(new Date(at)));
  const of = (name) => days.map((one) => ({ day: one, value: known.get(one)?.[name] ?? 0 }));
  const costs = of("cost").map(({ day: one, value }) => ({
    label: `${one}: ${dollars(value)}`, parts: [{ value, tone: "bar-accent" }],
  }));
  const tokens = days.map((one) => {
    const { tokens_in: read = 0, tokens_out: written = 0, tokens_cached: cached = 0 } = known.get(one) ?? {};
    return {
      label: `${one}: ${count(read)} tokens in (${count(cached)} cached), ${count(written)} out`,
      parts: [
        { value: cached, tone: "bar-soft" }, { value: read - cached, tone: "bar-accent" },
        { value: written, tone: "bar-good" },
      ],
    };
  });
  return h("div.columns", {},
    h("figure", {}, h("figcaption", {}, "Cost ", h("strong", {}, dollars(total.cost)),
      total.unpriced ? h("span.soft.small", {}, ` without ${count(total.unpriced)} requests of unknown price`) : null),
    barPlot(costs, `Cost by day, in all ${dollars(total.cost)}`)),
    h("figure", {}, h("figcaption", {}, "Tokens ",
      h("strong", {}, count(total.tokens_in + total.tokens_out)),
      h("span.soft.small", {}, ` ${count(total.tokens_in)} in, ${count(total.tokens_out)} out`)),
    barPlot(tokens, `Tokens by day, ${count(total.tokens_in)} in and ${count(total.tokens_out)} out`)));
}

function table({ items, total, truncated }, by) {
  if (!items.length) return h("p.soft", {}, "Nothing was consumed in these days.");
  const heads = [TITLES[by], "Turns", "Tokens in", "cached", "Tokens out", "Characters", "Minutes", "Cost"];
  const cells = (label, one) => [
    label, count(one.turns), count(one.tokens_in), count(one.tokens_cached), count(one.tokens_out),
    count(one.characters), (one.seconds / 60).toFixed(1),
    [dollars(one.cost), one.unpriced ? h("span.soft.small", {}, ` + ${count(one.unpriced)} unpriced`) : null],
  ];
  const row = (label, one) => h("tr", {}, cells(label, one).map((cell, index) => (index
    ? h("td.number", { dataset: { label: heads[index] } }, cell)
    : h("th", { scope: "row" }, cell))));
  return [
    h("div.table-wrap", {}, h("table.cards", { ariaLabel: "Usage" },
      h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, items.map((one) => row(one[by] || h("span.soft", {}, "none answered"), one))),
      h("tfoot", {}, row("In all", total)))),
    truncated ? h("p.soft.small", {}, "Only the costliest are shown.") : null,
  ];
}

function remember() {
  const url = new URL(location.href);
  for (const name of NAMES) url.searchParams.set(name, field(name).value);
  history.replaceState(history.state, "", url);
}

if (session.role !== "admin") field("by").querySelector('option[value="owner"]')?.remove();
const said = new URLSearchParams(location.search);
for (const name of NAMES) if (said.get(name)) field(name).value = said.get(name);
form.addEventListener("change", () => { remember(); look(); });
form.addEventListener("submit", (event) => { event.preventDefault(); remember(); look(); });
setInterval(() => { if (!document.hidden) look(); }, STEADY_MS);
look();
