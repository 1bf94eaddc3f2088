// Changes on the server: the browser's stream of /api/events, and whether server and store answer.

import { get } from "./api.js";
import { RESYNC } from "./events/source.js";
import { newStream } from "./events/stream.js";

const LOOK_MS = 5000;
const HELLO_MS = 1000;

const bus = new EventTarget();
const stream = newStream(take);
let streaming = "off";
let who = ""; // the user of this page
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
 * misses no change. A hidden page does not listen; it reads everything again when it is shown.
 * @param {Parameters<typeof whoOf>[0]} session
 */
export function listen(session) {
  who = whoOf(session);
  /** @type {Promise<void>} */
  const told = new Promise((resolve) => {
    const end = on("hello", () => { end(); resolve(); });
    setTimeout(resolve, HELLO_MS);
  });
  document.addEventListener("visibilitychange", turned);
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", ({ persisted }) => { if (persisted) turned(); });
  if (!document.hidden) stream.open(who);
  look();
  setInterval(() => {
    if (!document.hidden) stream.check?.();
    look();
  }, LOOK_MS);
  return document.hidden ? Promise.resolve() : told;
}

function take(kind, detail) {
  if (kind !== "stream") return tell(kind, detail);
  streaming = detail;
  return look();
}

function turned() {
  if (document.hidden) {
    stream.close();
    streaming = "off";
    return;
  }
  stream.open(who);
  look();
  tell("resync", RESYNC); // events were missed
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
  if (back && streaming === "connecting") stream.again();
  if (streaming === "closed" && found.server === "ok") await again();
}

/**
 * Open the stream again, which a browser gives up once it is refused. Reading the session asks to sign in; where it is
 * another user's by now, this page is not for them.
 */
async function again() {
  streaming = "off"; // the looks meanwhile do not ask as well
  try {
    if (whoOf(await get("/api/session")) !== who) return location.reload();
    stream.open(who);
    stream.again();
  } catch { streaming = "closed"; } // with the next look
  return undefined;
}

/** Return what names the user and the token of a session. */
export const whoOf = ({ user, name, role }) => JSON.stringify([user, name, role]);

function tell(kind, detail) { bus.dispatchEvent(new CustomEvent(kind, { detail })); }
