// Changes on the server: one stream of /api/events for the page.

import { get } from "./api.js";

const KINDS = ["hello", "changed", "condition", "run", "resync"];
const LOOK_MS = 5000;
const HELLO_MS = 1000;

const bus = new EventTarget();
let source = null;
let state = { server: "ok", store: "ok", age: null, fromDisk: false };

/** Call `work({ version, slugs, run?, condition? })` at each event of a kind. Returns a function that stops it. */
export function on(kind, work) {
  const listener = (event) => work(event.detail);
  bus.addEventListener(kind, listener);
  return () => bus.removeEventListener(kind, listener);
}

/** Call `work(slugs | null)` whenever agents may have changed; null: any of them. */
export function onAgents(work) {
  const ends = [
    on("changed", ({ slugs }) => work(slugs)),
    on("condition", ({ slugs }) => work(slugs)),
    on("resync", () => work(null)),
  ];
  return () => ends.forEach((end) => end());
}

/** Call `work({ server: "ok|away", store: "ok|away", age, fromDisk })` now and at each change. */
export function onState(work) {
  work(state);
  return on("state", work);
}

/**
 * Begin to listen; resolves once the stream is open, or after a second: a caller that listens first and reads second
 * misses no change. A hidden page closes its connection: a browser has only six for a server.
 */
export function listen() {
  /** @type {Promise<void>} */
  const told = new Promise((resolve) => {
    const end = on("hello", () => { end(); resolve(); });
    setTimeout(resolve, HELLO_MS);
  });
  document.addEventListener("visibilitychange", turned);
  if (!document.hidden) open();
  look();
  setInterval(look, LOOK_MS);
  return document.hidden ? Promise.resolve() : told;
}

/** Open the stream. `lost`: events may have been missed. */
function open(lost = false) {
  if (source) return;
  source = new EventSource("/api/events");
  for (const kind of KINDS) source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  source.onerror = () => { lost = true; look(); };
  source.onopen = () => {
    look();
    if (lost) tell("resync", { version: null, slugs: [] }); // events may have been missed
    lost = false;
  };
}

function turned() {
  if (document.hidden) {
    source?.close();
    source = null;
    return;
  }
  open();
  look();
  tell("resync", { version: null, slugs: [] }); // events were missed
}

async function look() {
  if (document.hidden) return;
  let found;
  try {
    const ready = await get("/readyz", { again: false });
    found = { server: "ok", store: ready.store, age: ready.age_seconds, fromDisk: ready.from_disk };
  } catch (problem) {
    found = problem.status === 503 && problem.body.store
      ? { server: "ok", store: problem.body.store, age: problem.body.age_seconds, fromDisk: problem.body.from_disk }
      : { server: problem.status === 0 ? "away" : "ok", store: "ok", age: null, fromDisk: false };
  }
  const back = state.server === "away" && found.server === "ok";
  state = found;
  tell("state", found);
  if (back && source?.readyState === EventSource.CONNECTING) { // a browser waits longer after each failure
    source.close();
    source = null;
    open(true);
  }
  if (source?.readyState === EventSource.CLOSED && found.server === "ok") await again();
}

/** Open the stream again, which a browser gives up once it is refused. Reading the session asks to sign in. */
async function again() {
  source = null;
  try {
    await get("/api/session");
    open(true);
  } catch { source ??= { readyState: EventSource.CLOSED, close() {} }; } // with the next look
}

function tell(kind, detail) { bus.dispatchEvent(new CustomEvent(kind, { detail })); }
