// Runs of sync, newest first. A row stays the same element, which keeps its focus and its open folds.

import { inPath } from "../api.js";
import { byId, fill, h } from "../dom.js";
import { full, millis, short } from "../format.js";
import { startedBy, when } from "../marks.js";
import { many } from "./standing.js";
import { violation } from "./faults.js";

const TONES = { applied: "good", unchanged: "", refused: "bad", failed: "bad" };
const DONE = {
  create: "created", update: "updated", rename: "renamed", delete: "deleted", heal: "healed", quarantined: "set aside",
};

/** Draws `#runs`. */
export function mountRuns(session) {
  const admin = session.role === "admin";
  const rows = h("tbody");
  const note = h("p.soft", { hidden: true });
  const names = ["When", "Outcome", "Version", "Commit", "By", ...(admin ? ["Took"] : [])];
  const table = h("table.cards.runs", { hidden: true }, h("caption.visually-hidden", {}, "Runs, newest first"),
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))), rows);
  fill(byId("runs"), note, table);
  const known = new Map();
  let first = true;
  return ({ data }) => {
    note.hidden = Boolean(data.runs?.length);
    fill(note, data.runs === null ? "The runs are unknown until Postgres is back." : "Nothing has run yet.");
    if (data.runs === null) return;
    table.hidden = !data.runs.length;
    keep(rows, known, data.runs, (run) => rowOf(run, session, admin, !first));
    first = false;
  };
}

/** Insert new rows, and remove those that are gone. */
function keep(rows, known, runs, make) {
  const ids = new Set(runs.map((run) => run.id));
  for (const [id, row] of known) if (!ids.has(id)) { row.remove(); known.delete(id); }
  runs.forEach((run, index) => {
    let row = known.get(run.id);
    if (!row) known.set(run.id, (row = make(run)));
    if (rows.children[index] !== row) rows.insertBefore(row, rows.children[index] ?? null);
  });
}

function rowOf(run, session, admin, fresh) {
  const cell = (label, ...content) => h("td", { class: content[0] === "–" ? "none" : "", dataset: { label } }, content);
  const more = [faults(run, session), drifts(run, session)].filter(Boolean);
  return h("tr", { class: fresh ? "fresh" : "", dataset: { run: run.id } },
    cell("When", when(run.recorded_at ?? run.started_at)),
    h("td", { dataset: { label: "Outcome" } },
      h("span.badge", { class: TONES[run.outcome] }, run.outcome), " ", counted(run), named(run), more),
    cell("Version", run.version ?? "–"),
    cell("Commit", ...commitOf(run)),
    cell("By", run.actor ? [h("code", {}, run.actor), h("br")] : null,
      h("span", { class: run.actor ? "soft small" : "" }, `${startedBy(run.trigger)}, ${run.source}`)),
    admin ? cell("Took", h("span", { title: full(run.started_at) }, millis(run.duration_ms))) : null);
}

function counted(run) {
  const told = Object.entries(DONE)
    .filter(([name]) => run.counts[name])
    .map(([name, word]) => `${run.counts[name]} ${word}`);
  return told.length ? h("span.soft", {}, told.join(", ")) : null;
}

/** Name the agents that a run changed. */
function named(run) {
  const found = run.changes ?? [];
  if (!found.length) return null;
  const all = ["create", "update", "rename", "delete", "heal"].reduce((sum, name) => sum + (run.counts[name] ?? 0), 0);
  const rest = all - found.length;
  return h("div.small.named", {},
    found.map((one, at) => [at ? ", " : "", one.operation === "delete" ? h("del", {}, one.slug) : link(one.slug)]),
    rest > 0 ? ` and ${many(rest, "other")}` : "");
}

const link = (slug) => h("a", { href: `/ui/agent?agent=${inPath(slug)}` }, slug);

/** What was applied may be newer than the commit that the folder is at. */
function commitOf(run) {
  const found = run.changes ?? [];
  if (found.length && found.every((one) => one.commit === null)) return [h("span.soft", {}, "not committed")];
  return [run.commit ? h("code", { title: run.commit }, short(run.commit)) : "–"];
}

function faults(run, session) {
  if (!run.errors.length) return null;
  return h("details", { open: ["refused", "failed"].includes(run.outcome) },
    h("summary", {}, many(run.errors.length, "fault")),
    h("ul.violations", {}, run.errors.slice(0, 50).map((one) => (one.path ? violation(one, session) : plain(one)))));
}

const plain = (one) => h("li.violation", {},
  one.message, " ", h("span.soft.small", {}, `[${one.code}]`), one.hint ? h("p.hint", {}, one.hint) : null);

function drifts(run, session) {
  if (!run.drift?.length) return null;
  return h("details", {}, h("summary", {}, `${run.drift.length} edited in the database`),
    h("ul.violations", {},
      run.drift.slice(0, 50).map((one) => h("li", {}, h("code", {}, `${session.files}/${one.path}`), " ",
      one.fields.map((field) => field.field).join(", ")))));
}
