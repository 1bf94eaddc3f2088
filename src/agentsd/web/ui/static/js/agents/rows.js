// The rows of the list. A row whose agent is as before is left alone, so that focus and selection stay.

import { inPath } from "../api.js";
import { fill, h } from "../dom.js";
import { short } from "../format.js";
import { conditionBadge, when } from "../marks.js";

/** Return a function that shows summaries in `body`; `marked`: rows that changed are highlighted. */
export function rowsOf(body) {
  const known = new Map();
  return (items, { marked = false } = {}) => {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const wanted = new Set(items.map((one) => one.id));
    for (const [id, { row }] of known) if (!wanted.has(id)) { row.remove(); known.delete(id); }
    items.forEach((item, index) => {
      const row = rowOf(known, item, marked);
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    if (focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  };
}

function rowOf(known, item, marked) {
  const told = JSON.stringify(item);
  const before = known.get(item.id);
  if (before?.told === told) return before.row;
  const row = before?.row ?? h("tr", { dataset: { slug: item.slug } });
  const focused = row.contains(document.activeElement);
  fill(row, cells(item));
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

function cells(item) {
  return [
    h("td.first", {},
      h("div", {},
        h("a.name", { href: `/ui/agent?agent=${inPath(item.slug)}` }, item.name), " ",
        item.is_default ? h("span.badge.accent", {}, "default") : null),
      h("div.slug", {}, item.slug)),
    h("td", { dataset: { label: "Owner" } }, item.user),
    h("td", { dataset: { label: "Providers" } }, providers(item.providers)),
    h("td", { dataset: { label: "Condition" } }, conditionBadge(item.condition), why(item.condition)),
    h("td.tight", { dataset: { label: "Version" } }, h("div", {}, String(item.version)), lag(item)),
    h("td", { dataset: { label: "File" } },
      h("div.path", {}, item.path),
      h("div.commit", { title: item.commit && `commit ${item.commit}` }, short(item.commit) || "no commit")),
    h("td.tight", { dataset: { label: "Last change" } }, when(item.updated_at)),
  ];
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
