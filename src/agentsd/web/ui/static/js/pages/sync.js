// The state of files, database and replicas, and their history.

import { request } from "../api.js";
import { byId, debounced } from "../dom.js";
import { ago } from "../format.js";
import { on, onState } from "../live.js";
import { boot } from "../shell.js";
import { mountAudit } from "../sync/audit.js";
import { mountFaults } from "../sync/faults.js";
import { mountFleet } from "../sync/fleet.js";
import { mountHead } from "../sync/head.js";
import { mountPlan } from "../sync/plan.js";
import { mountRuns } from "../sync/runs.js";
import { headOf, lags } from "../sync/standing.js";
import { mountSummary } from "../sync/summary.js";

const QUICK_MS = 1000;
const CALM_MS = 10_000;
const HOT_MS = 6000; // for so long after an event, the state is read often
const TOGETHER_MS = 60;
const TICK_MS = 5000;

const session = await boot();
const parts = [mountSummary, mountFleet, mountFaults, mountHead, mountRuns].map((mount) => mount(session));
const audit = mountAudit();
const plan = mountPlan(session);
const state = { asked: 0, timer: 0, hotUntil: 0, said: 0, told: null };

const soon = debounced(load, TOGETHER_MS);
on("run", ({ run, version }) => { audit.refresh(); happened(run?.version ?? version); plan.overtaken(); });
on("changed", ({ version }) => { happened(version); plan.overtaken(); });
on("condition", () => happened(0));
on("resync", () => { audit.refresh(); happened(0); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
let store = "ok";
onState((now) => {
  if (now.store === store) return;
  store = now.store;
  soon();
  audit.refresh();
  if (store === "ok") plan.look();
});
setInterval(tick, TICK_MS);
await load();
plan.look();

/** Show a new version at once, and read the state often while the replicas take it up. */
function happened(version) {
  state.hotUntil = Date.now() + HOT_MS;
  if (version > state.said) {
    state.said = version;
    if (state.told) show();
  }
  soon();
}

async function load() {
  const asked = (state.asked += 1);
  clearTimeout(state.timer);
  try {
    const reply = await request("GET", "/api/sync");
    const data = await reply.json();
    if (asked !== state.asked) return; // a later request is in progress
    const now = Date.parse(reply.headers.get("Date") ?? "") || Date.now();
    // another database
    if (data.version < state.said && state.said > headOf(data, 0) && Date.now() > state.hotUntil) state.said = 0;
    state.told = { data, now, at: Date.now() };
    show();
  } catch { /* the banner shows the reason; the known state stays */ }
  if (asked === state.asked) next();
}

function next() {
  const { told } = state;
  const lagging = told !== null && lags(told.data, state.said, told.now);
  const quick = Date.now() < state.hotUntil || told?.data.store === "away" || lagging;
  state.timer = setTimeout(() => (document.hidden ? next() : load()), quick ? QUICK_MS : CALM_MS);
}

function show() {
  const { data, now, at } = state.told;
  const standing = { data, head: headOf(data, state.said), now: now + (Date.now() - at) };
  for (const draw of parts) draw(standing);
  plan.know(data);
}

function tick() {
  /** @type {NodeListOf<HTMLTimeElement>} */
  const times = byId("main").querySelectorAll("time[datetime]");
  for (const one of times) {
    const text = ago(one.dateTime);
    if (one.textContent !== text) one.textContent = text;
  }
}
