// The rows of the list. A row whose agent is as before is left alone, so that focus and selection stay.

import { inPath } from "../api.js";
import { fill, h } from "../dom.js";
import { short } from "../format.js";
import { conditionBadge, sentence, when } from "../marks.js";

/** @import { Refused } from "../refused.js" */

/**
 * Return a function that shows summaries in `body`; `marked`: rows that changed are highlighted. `refused`: the fault
 * of a file, by the slug of its agent.
 */
export function rowsOf(body) {
  const known = new Map();
  /** @param {any[]} items @param {{ marked?: boolean, refused?: Map<string, Refused> }} [options] */
  return (items, { marked = false, refused = new Map() } = {}) => {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const wanted = new Set(items.map((one) => one.id));
    for (const [id, { row }] of known) if (!wanted.has(id)) { row.remove(); known.delete(id); }
    items.forEach((item, index) => {
      const row = rowOf(known, item, refused.get(item.slug) ?? null, marked);
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    if (focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  };
}

function rowOf(known, item, refused, marked) {
  const told = JSON.stringify([item, refused]);
  const before = known.get(item.id);
  if (before?.told === told) return before.row;
  const row = before?.row ?? h("tr", { dataset: { slug: item.slug } });
  const focused = row.contains(document.activeElement);
  fill(row, cells(item, refused));
  row.dataset.slug = item.slug;
  if (marked) point(row);
  if (focused) row.querySelector("a").focus({ preventScroll: true });
  known.set(item.id, { row, told });
  return row;
}

function point(row) {
  row.classList.remove("fresh");
  requestAnimationFrame(() => row.classList.add("fresh"));
}

function cells(item, refused) {
  return [
    h("td.first", {},
      h("div", {},
        h("a.name", { href: `/ui/agent?agent=${inPath(item.slug)}` }, item.name), " ",
        item.is_default ? h("span.badge.accent", {}, "default") : null),
      h("div.slug", {}, item.slug)),
    h("td", { dataset: { label: "Owner" } }, item.user),
    h("td", { dataset: { label: "Providers" } }, providers(item.providers)),
    h("td", { dataset: { label: "Condition" } }, 
      refused ? [refusal(), faultOf(refused)] : [lacks(item) ?? conditionBadge(item.condition), why(item.condition)]),
    h("td.tight", { dataset: { label: "Version" } }, h("div", {}, String(item.version)), lag(item)),
    h("td", { dataset: { label: "File" } },
      h("div.path", {}, item.path),
      h("div.commit", { title: item.commit && `commit ${item.commit}` }, short(item.commit) || "not committed")),
    h("td.tight", { dataset: { label: "Last change" } }, when(item.updated_at)),
  ];
}

/** Show files without an agent, which were refused, as rows of the list. */
export function drawRefused(body, items) {
  fill(body, items.map((one) => h("tr.refused", { dataset: { path: one.path } },
    h("td.first", {},
      h("div", {}, h("a.name", { href: `/ui/agent?agent=${inPath(one.slug)}` }, one.slug)),
      h("div.slug", {}, one.serves === null ? "no agent yet" : `version ${one.serves} is served`)),
    h("td", { dataset: { label: "Condition" }, colSpan: 5 }, refusal(), faultOf(one)),
    h("td.tight", { dataset: { label: "Last change" } }, when(one.since)))));
}

const refusal = () => h("span.badge.bad", {}, "File refused");
const faultOf = (one) => h("div.why.fault", { title: one.message },
  h("code", {}, one.place), " ", sentence(one.message));

function lacks({ lacks: told }) {
  return told?.length
    ? [h("span.badge.warn", {}, "Needs setup"), told.map((one) => h("div.why", {}, sentence(one)))]
    : null;
}

function providers(named) {
  const found = Object.entries(named);
  return found.length
    ? found.map(([kind, vendor]) => h("div", {}, h("span.kind", {}, kind), " ", vendor))
    : h("span.soft", {}, "none");
}

function why(condition) {
  if (condition.type === "Ready") return null;
  return h("div.why", { title: condition.message }, [condition.reason, condition.message].filter(Boolean).join(": "));
}

/** Report where the version that is served is not the file's. */
function lag({ version, serving_version: serving, condition }) {
  if (serving === version || condition.type === "Suspended" || (serving === null && condition.type === "Ready")) {
    return null;
  }
  return h("div.lag", {}, serving === null ? "none is served" : `serves ${serving}`);
}
