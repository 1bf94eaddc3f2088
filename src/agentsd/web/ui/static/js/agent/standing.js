// The agent beyond this server: the condition of its file, and the replicas that serve it.

import { get } from "../api.js";
import { chosen } from "../choice.js";
import { byId, debounced, fill, h } from "../dom.js";
import { count } from "../format.js";
import { on, onState } from "../live.js";
import { conditionBadge, notice, sentence, when } from "../marks.js";
import { faultNotice, refusedIn } from "../refused.js";
import { latest } from "./latest.js";
import { onDisk } from "./paths.js";

const WORDS = { Ready: "loaded", Degraded: "older version", Invalid: "not loaded", Suspended: "Suspended" };
const FILE_WORDS = { Ready: "accepted", Invalid: "refused" };
const SOON_MS = 150;
const LAGGING_MS = 3000;
const STEADY_MS = 15_000;

/** Keep both sections current; returns a function that refreshes them at once. */
export function standing(files) {
  const ask = latest();
  let timer;
  const look = () => {
    clearTimeout(timer);
    ask(() => get("/api/sync"), (sync) => {
      const lags = draw(chosen(), sync, files);
      timer = setTimeout(() => (document.hidden ? null : look()), lags ? LAGGING_MS : STEADY_MS);
    }, (problem) => {
      fill(byId("replicas"), notice(problem));
      timer = setTimeout(look, LAGGING_MS);
    });
  };
  const soon = debounced(look, SOON_MS);
  for (const kind of ["changed", "condition", "run", "resync"]) on(kind, soon);
  let store = "ok";
  onState((state) => { if (state.store !== store) soon(); store = state.store; });
  return look;
}

/** Draw; returns whether some replica does not serve the current version. */
function draw(agent, sync, files) {
  const replicas = sync.replicas?.map((one) => ({
    ...one, state: stateOf(agent, one), here: one.id === sync.replica,
  })) ?? null;
  fill(byId("file-fault"), agent.path === null ? null : faultOf(agent, sync, files));
  fill(byId("conditions"), conditions(agent, sync, replicas, files));
  fill(byId("replicas"), served(agent, replicas));
  return replicas?.some((one) => one.state.name !== "serves") ?? true;
}

/** Return a notice where the agent's file is refused: what is shown is the version before it. */
function faultOf(agent, sync, files) {
  const found = refusedIn(sync, files).find((one) => one.path === agent.path && one.source === agent.source);
  return found ? faultNotice(found) : null;
}

function stateOf(agent, replica) {
  const found = replica.degraded.find((one) => one.slug === agent.slug);
  if (found) return { name: "degraded", tone: "bad", label: "serves an older one", found };
  if (replica.version < agent.version) return { name: "behind", tone: "warn", label: "not yet", found: null };
  return { name: "serves", tone: "good", label: "serves it", found: null };
}

const nameOf = (replica) => (replica.host ? `${replica.host}:${replica.pid}` : replica.id.slice(0, 8));

function conditions(agent, sync, replicas, files) {
  const rows = [["This server", agent.condition]];
  if (agent.path !== null && sync.conditions) {
    const found = sync.conditions.find((one) => one.path === agent.path && one.source === agent.source);
    rows.push([
      h("span", {}, "File ", h("code", {}, onDisk(files, agent.path))),
      found ?? { type: "Ready", reason: "", message: "", since: null },
    ]);
  }
  for (const one of replicas ?? []) {
    if (one.state.found && !one.here) {
      rows.push([`Replica ${nameOf(one)}`, { type: "Degraded", since: null, ...one.state.found }]);
    }
  }
  return [
    h("ul.plain-list.stack", {}, rows.map(([what, condition]) => h("li", {},
      h("div.row", {},
        conditionBadge(condition, typeof what === "string" ? WORDS[condition.type] : FILE_WORDS[condition.type]),
        h("span", {}, what, condition.since ? h("span.soft.small", {}, " since ", when(condition.since)) : null)),
      explained(condition, files)))),
    sync.conditions === null
      ? h("p.soft.small", {}, "The state of the file and of other replicas is unknown while Postgres is away.")
      : null,
  ];
}

/** Return the reason and the message; the message of a file's fault begins with line and column. */
function explained({ type, reason, message, path }, files) {
  if ((type === "Ready" && (!message || reason === "NotOpened")) || (!reason && !message)) return null;
  return h("p.small", {},
    h("strong", {}, reason),
    message ? [": ", path && /^\d+:\d+ /.test(message) ? `${onDisk(files, path)}:${message}` : message] : "");
}

function served(agent, replicas) {
  if (agent.path === null) return h("p.soft", {}, "It is built into every server.");
  if (replicas === null) return h("p.soft", {}, "Unknown while Postgres is away.");
  if (!replicas.length) return h("p.soft", {}, "No heartbeat in the last minute.");
  const good = replicas.filter((one) => one.state.name === "serves").length;
  const what = agent.is_active ? "serve" : "have";
  return [
    h("p", { role: "status" },
      `${count(good)} of ${count(replicas.length)} ${what} version ${agent.version}`
        + `${agent.is_active ? "" : " (it is suspended)"}.`),
    h("ul.plain-list.stack", {}, replicas.map((one) => h("li", {},
      h("div.row", {},
        h("span.badge", { class: one.state.tone },
          agent.is_active ? one.state.label : one.state.label.replace("serves", "has")),
        h("span", {},
          nameOf(one), " ", one.here ? h("span.badge.info", {}, "this one") : null,
          h("span.soft.small", {}, " last heartbeat ", when(one.seen_at)))),
      one.state.found ? h("p.small", {}, sentence(one.state.found.message)) : null))),
  ];
}
