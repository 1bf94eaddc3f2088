// The rows of the list. A row whose agent is as before is left alone, so that focus and selection stay.

import { inPath } from "../api.js";
import { fill, h } from "../dom.js";
import { short } from "../format.js";
import { sentence, statusBadge, when } from "../marks.js";
import { placeOf } from "../refused.js";

/** Return a function that shows summaries in `body`; `marked`: rows that changed are highlighted. */
export function rowsOf(body, files) {
  const known = new Map();
  /** @param {any[]} items @param {{ marked?: boolean }} [options] */
  return (items, { marked = false } = {}) => {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const wanted = new Set(items.map(keyOf));
    for (const [key, { row }] of known) if (!wanted.has(key)) { row.remove(); known.delete(key); }
    items.forEach((item, index) => {
      const row = rowOf(known, item, marked, files());
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    if (focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  };
}

const keyOf = (item) => item.id ?? `${item.source}:${item.path}`;

function rowOf(known, item, marked, files) {
  const told = JSON.stringify(item);
  const before = known.get(keyOf(item));
  if (before?.told === told) return before.row;
  const row = before?.row ?? h("tr", { dataset: item.id ? { slug: item.slug } : { path: item.path } });
  const focused = row.contains(document.activeElement);
  fill(row, item.id ? cells(item, files) : refusedCells(item, files));
  if (item.id) row.dataset.slug = item.slug;
  if (marked) point(row);
  if (focused) row.querySelector("a").focus({ preventScroll: true });
  known.set(keyOf(item), { row, told });
  return row;
}

function point(row) {
  row.classList.remove("fresh");
  requestAnimationFrame(() => row.classList.add("fresh"));
}

function cells(item, files) {
  return [
    h("td.first", {},
      h("div", {},
        h("a.name", { href: `/ui/agent?agent=${inPath(item.slug)}` }, item.name), " ",
        item.is_default ? h("span.badge.accent", {}, "default") : null),
      h("div.slug", {}, item.slug)),
    h("td", { dataset: { label: "Owner" } }, item.user),
    h("td", { dataset: { label: "Providers" } }, providers(item.providers)),
    h("td", { dataset: { label: "Status" } }, lacks(item) ?? statusBadge(item.status), why(item, files)),
    h("td.tight", { dataset: { label: "Version" } }, h("div", {}, String(item.version)), lag(item)),
    h("td", { dataset: { label: "File" } },
      h("div.path", {}, item.path),
      h("div.commit", { title: item.commit && `commit ${item.commit}` }, short(item.commit) || "not committed")),
    h("td.tight", { dataset: { label: "Last change" } }, when(item.updated_at)),
  ];
}

/** The cells of a refused file that never became an agent. */
function refusedCells(item, files) {
  return [
    h("td.first", {},
      h("div", {}, h("a.name", { href: `/ui/agent?agent=${inPath(item.slug)}` }, item.slug)),
      h("div.slug", {}, "no agent yet")),
    h("td", { dataset: { label: "Status" }, colSpan: 5 }, statusBadge(item.status), why(item, files)),
    h("td.tight", { dataset: { label: "Last change" } }, when(item.updated_at)),
  ];
}

function lacks({ lacks: told, status }) {
  return told?.length && ["Ready", "Untested"].includes(status.word)
    ? [h("span.badge.warn", {}, "Needs setup"), told.map((one) => h("div.why", {}, sentence(one)))]
    : null;
}

function providers(named) {
  const found = Object.entries(named);
  return found.length
    ? found.map(([kind, vendor]) => h("div", {}, h("span.kind", {}, kind), " ", vendor))
    : h("span.soft", {}, "none");
}

/** Return what is wrong, and what to do. */
function why({ status, path }, files) {
  if (!status.message) return null;
  const { line, column, message, path: at } = placeOf({ path, message: status.message });
  const place = status.word === "File refused" && line ? `${files}/${at}:${line}:${column}` : null;
  return h("div.why.fault", { title: status.fix || null },
    place ? [h("code", {}, place), " "] : null, sentence(message),
    status.field ? [" ", h("code", {}, status.field)] : null);
}

/** Report where the version that is served is not the file's. */
function lag({ version, serving_version: serving, condition }) {
  if (serving === version || condition.type === "Suspended" || (serving === null && condition.type === "Ready")) {
    return null;
  }
  return h("div.lag", {}, serving === null ? "none is served" : `serves ${serving}`);
}
