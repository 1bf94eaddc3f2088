// The agent that this page talks to: in the address (to be shared), remembered per user, with an event per change.

import { get, inPath, send } from "./api.js";
import { onAgents } from "./live.js";

/** @import { Condition, Status } from "./marks.js" */

/**
 * An agent as the API shows it.
 * @typedef {object} Agent
 * @property {string} id
 * @property {string} slug
 * @property {string} name
 * @property {string} user its owner
 * @property {string} source
 * @property {string | null} path null: built in
 * @property {string | null} commit
 * @property {number} version
 * @property {number | null} serving_version
 * @property {Condition} condition
 * @property {Status} status
 * @property {boolean} is_default
 * @property {boolean} is_active
 * @property {string} updated_at
 * @property {string} digest
 * @property {string[]} [lacks] what it lacks to answer
 * @property {string} [description]
 * @property {string} [greeting]
 * @property {string} [language]
 * @property {any[]} [checks]
 * @property {Record<string, any>} [llm_provider_config]
 * @property {Record<string, any>} [tts_provider_config]
 * @property {Record<string, any>} [stt_provider_config]
 */

const bus = new EventTarget();
/** @type {Agent} */
let current = null;
let key = "agentsd.agent";
let following = false;
let heard = 0; // events about agents: a reply that was read meanwhile may be outdated
let asked = 0; // the newest request counts, in whatever order the replies come
let choosing = 0;

/** The agent as the API shows it; null before `settle`. */
export const chosen = () => current;

/**
 * `work(agent, before, gone)` after each change: another agent (`before.slug !== agent.slug`), or a new version of it;
 * `gone`: `before` was deleted or renamed.
 * @param {(agent: Agent, before: Agent, gone: boolean) => void} work
 */
export function onChoice(work) {
  bus.addEventListener("choice", (/** @type {CustomEvent} */ { detail }) => {
    work(detail.agent, detail.before, detail.gone);
  });
}

/**
 * Find the agent to begin with: of the address, of this user's last visit, or the server's own. Returns the name in
 * the address if there is no such agent, else null.
 */
export async function settle(user) {
  key = `agentsd.agent.${user}`;
  if (!following) onAgents(hear);
  following = true;
  const then = heard;
  const wanted = new URLSearchParams(location.search).get("agent");
  const named = await found(wanted);
  current = named ?? (await found(localStorage.getItem(key))) ?? (await usual());
  if (wanted && named === null) return wanted;
  remember(wanted === null);
  if (heard !== then) refresh();
  return null;
}

function hear(slugs) {
  heard += 1;
  if (current && (slugs === null || slugs.includes(current.slug))) refresh();
}

/** Switch to another agent; the page, the conversation and the call stay. */
export async function choose(slug) {
  const mine = (choosing += 1);
  const then = heard;
  const next = await get(`/api/agents/${inPath(slug)}`);
  if (mine !== choosing) return current; // another was chosen since
  asked += 1;
  told(next);
  remember();
  if (heard !== then) refresh();
  send("POST", `/api/agents/${inPath(slug)}/select`).catch(() => {}); // a suspended one cannot be `current`
  return next;
}

/** Return the server's current agent; where that is the built-in one, the first active agent. */
async function usual() {
  const agent = await get("/api/agents/current");
  if (agent.path !== null) return agent;
  const { items } = await get("/api/agents?active=true&limit=1");
  return items[0] ?? agent;
}

async function found(slug) {
  if (!slug) return null;
  return get(`/api/agents/${inPath(slug)}`).catch((problem) => {
    if (problem.status === 404) return null;
    throw problem;
  });
}

/** Read the agent again. If it is gone, the server's current one replaces it. */
async function refresh() {
  const mine = (asked += 1);
  try {
    const same = await found(current.path === null ? null : current.id);
    const next = same ?? (await usual());
    if (mine !== asked) return;
    told(next, same === null && current.path !== null);
    remember();
  } catch { /* the banner shows the reason */ }
}

function told(next, gone = false) {
  const before = current;
  current = next;
  bus.dispatchEvent(new CustomEvent("choice", { detail: { agent: next, before, gone } }));
}

function remember(quietly = false) {
  try { localStorage.setItem(key, current.slug); } catch { /* storage is unavailable */ }
  if (quietly) return;
  const address = new URL(location.href);
  address.searchParams.set("agent", current.slug);
  history.replaceState(history.state, "", address);
}
