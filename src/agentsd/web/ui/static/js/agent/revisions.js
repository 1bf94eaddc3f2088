// The revisions of an agent: the changes of each, and a rollback to it.

import { get } from "../api.js";
import { chosen } from "../choice.js";
import { byId, fill, h } from "../dom.js";
import { onState } from "../live.js";
import { commitOf, notice, startedBy, when } from "../marks.js";
import { perform } from "./actions.js";
import { changesOf } from "./changes.js";
import { latest } from "./latest.js";
import { lockOf } from "./locked.js";
import { api } from "./paths.js";

const PAGE = 10;

/** Keep the list current; returns a function that adapts it to an agent. */
export function revisions(session) {
  const ask = latest();
  let kept = { id: null, version: null, items: [], next: null };
  let waiting = false; // for Postgres

  const read = (agent, cursor) => {
    const query = new URLSearchParams({ diff: "true", limit: String(PAGE), ...(cursor ? { cursor } : {}) });
    return get(`${api(agent, "/revisions")}?${query}`);
  };
  const older = () => ask(() => read(chosen(), kept.next), (found) => {
    kept = { ...kept, items: [...kept.items, ...found.items], next: found.next_cursor };
    draw();
  }, failed);

  function show(agent) {
    if (agent.id === kept.id && agent.version === kept.version) return null;
    if (agent.id !== kept.id) { kept = { id: agent.id, version: null, items: [], next: null }; draw(); }
    return load(agent);
  }

  const load = (agent) => ask(() => read(agent), (found) => {
    kept = { id: agent.id, version: agent.version, ...joined(kept, found) };
    draw();
  }, failed);

  function failed(problem) {
    waiting = problem.status === 503 || problem.status === 0;
    const text = waiting
      ? h("p.notice.warn", {}, "History is in Postgres, which is away. It is shown when Postgres is available again.")
      : notice(problem);
    fill(byId("revisions-trouble"),
      text,
      h("div.row", {}, h("button.small", { type: "button", onclick: () => load(chosen()) }, "Try again")));
  }

  function draw() {
    waiting = false;
    const agent = chosen();
    fill(byId("revisions-trouble"),
      kept.version !== null && !kept.items.length ? h("p.soft", {}, "It has none.") : null);
    fill(byId("revisions"), kept.items.map((one) => item(one, agent, session)));
    byId("older").hidden = kept.next === null;
  }

  byId("older").addEventListener("click", older);
  onState(({ store, server }) => { if (waiting && store === "ok" && server === "ok") load(chosen()); });
  return show;
}

/** Put new revisions before those that are shown, unless some between them are missing. */
function joined(kept, found) {
  const top = kept.items[0]?.version ?? -1;
  const newer = found.items.filter((one) => one.version > top);
  if (!kept.items.length || newer.length === found.items.length) return { items: found.items, next: found.next_cursor };
  return { items: [...newer, ...kept.items], next: kept.next };
}

function item(one, agent, session) {
  const current = one.version === agent.version;
  const lock = lockOf(session, agent);
  const back = !current && one.operation !== "delete" && (lock === null || lock.previews);
  return h("li", { dataset: { version: one.version } },
    h("div.row.spread", {},
      h("h3.title.row", {},
        `Version ${one.version}`,
        h("span.badge", {}, one.operation),
        current ? h("span.badge.accent", {}, "current") : null),
      back
        ? h("button.small", {
          type: "button", ariaLabel: `Roll back to version ${one.version}`,
          onclick: () => rollBack(chosen(), session, one),
        }, "Roll back to this")
        : null),
    h("div.meta", {},
      when(one.created_at),
      one.actor ? [", by ", h("code", {}, one.actor)] : one.trigger ? `, ${startedBy(one.trigger)}` : null,
      one.commit ? ", commit " : ", ", commitOf(one.commit),
      one.run_id ? [", run ", h("code", { title: one.run_id }, one.run_id.slice(0, 8))] : null,
      one.path === agent.path ? null : [", then ", h("code", {}, one.path)]),
    changesOf(one.changes));
}

function rollBack(agent, session, { version }) {
  return perform(agent, session, `${agent.name} is as it was at version ${version}`, {
    title: `Roll ${agent.name} back to version ${version}?`,
    text: "Its file is restored to that version, as a new version. The history is kept.",
    action: "Roll back", method: "POST", more: "/rollback", body: { version },
    command: `agentsd rollback ${agent.slug} ${version}`,
  });
}
