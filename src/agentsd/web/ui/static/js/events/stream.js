// The stream of events of this page: its share of the browser's one, or one of its own where workers cannot be shared.

import { Source } from "./source.js";

const POLICY = "agentsd-events"; // the only one that the Content-Security-Policy lets a page make
const SILENT_MAX = 2; // questions to a worker that ended
const WORKER = new URL("worker.js", import.meta.url).href;

/**
 * @typedef {object} Stream
 * @property {(who: string) => void} open for the user of this page's session
 * @property {() => void} close
 * @property {() => void} again
 * @property {() => void} [check] to be called every few seconds: a browser may end a worker and report it to nobody
 */

/**
 * `take(kind, detail)` as `Source` tells.
 * @param {(kind: string, detail: any) => void} take
 * @returns {Stream}
 */
export function newStream(take) {
  /** @type {string | null} */
  let wanted = null;
  /** @type {Stream} */
  let stream;
  const alone = () => {
    stream = new Source(take);
    if (wanted !== null) stream.open(wanted);
  };
  try { stream = shared(take, alone); } catch { alone(); }
  return {
    open(who) { wanted = who; stream.open(who); },
    close() { wanted = null; stream.close(); },
    again() { stream.again(); },
    check() { stream.check?.(); },
  };
}

/**
 * @param {(kind: string, detail: any) => void} take
 * @param {() => void} failed
 * @returns {Stream}
 */
function shared(take, failed) {
  const worker = new SharedWorker(address(), { type: "module", name: "agentsd-events" });
  let silent = 0; // questions without an answer
  const leave = () => {
    worker.onerror = null;
    worker.port.close();
    failed();
  };
  worker.onerror = leave;
  worker.port.onmessage = ({ data }) => {
    silent = 0;
    if (data.kind === "lacking") leave();
    else if (data.kind !== "alive") take(data.kind, data.detail);
  };
  /** @param {string} work */
  const ask = (work) => (who) => worker.port.postMessage({ work, who });
  const check = () => {
    silent += 1;
    if (silent > SILENT_MAX) leave();
    else ask("answer")("");
  };
  return { open: ask("open"), close: ask("close"), again: ask("again"), check };
}

/** Return the worker's address as browsers with Trusted Types take it: a policy that makes this one and no other. */
function address() {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  return types ? types.createPolicy(POLICY, { createScriptURL: () => WORKER }).createScriptURL("") : WORKER;
}
