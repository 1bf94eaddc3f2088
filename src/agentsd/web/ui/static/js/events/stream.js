// The stream of events of this page: its share of the browser's one, or one of its own where workers cannot be shared.

import { Source } from "./source.js";

const POLICY = "agentsd-events"; // the only one that the Content-Security-Policy lets a page make
const WORKER = new URL("worker.js", import.meta.url).href;

/** @typedef {{ open: () => void, close: () => void, again: () => void }} Stream */

/**
 * `take(kind, detail)` as `Source` tells.
 * @param {(kind: string, detail: any) => void} take
 * @returns {Stream}
 */
export function newStream(take) {
  let wanted = false;
  /** @type {Stream} */
  let stream;
  const alone = () => {
    stream = new Source(take);
    if (wanted) stream.open();
  };
  try { stream = shared(take, alone); } catch { alone(); }
  return {
    open() { wanted = true; stream.open(); },
    close() { wanted = false; stream.close(); },
    again() { stream.again(); },
  };
}

/**
 * @param {(kind: string, detail: any) => void} take
 * @param {() => void} failed
 * @returns {Stream}
 */
function shared(take, failed) {
  const worker = new SharedWorker(address(), { type: "module", name: "agentsd-events" });
  worker.onerror = failed;
  worker.port.onmessage = ({ data }) => take(data.kind, data.detail);
  const ask = (work) => () => worker.port.postMessage(work);
  return { open: ask("open"), close: ask("close"), again: ask("again") };
}

/** Return the worker's address as browsers with Trusted Types take it: a policy that makes this one and no other. */
function address() {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  return types ? types.createPolicy(POLICY, { createScriptURL: () => WORKER }).createScriptURL("") : WORKER;
}
