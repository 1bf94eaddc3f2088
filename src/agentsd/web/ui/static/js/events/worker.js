// The worker that all pages of a browser share: a browser has only six connections for a server over HTTP/1.1, and a
// stream for each window would use them up.

import { Source } from "./source.js";

/** The ports of visible pages. @type {Set<MessagePort>} */
const ports = new Set();
const source = new Source((kind, detail) => { for (const port of ports) port.postMessage({ kind, detail }); });
let user = null; // whose session the stream was opened with

const WORK = {
  answer(port) { port.postMessage({ kind: "alive" }); },
  open(port, who) {
    if (!("EventSource" in globalThis)) { // some browsers have it in pages only
      port.postMessage({ kind: "lacking" });
      return;
    }
    if (who !== user) change(who);
    ports.add(port);
    source.open();
    if (source.state === "off") return;
    port.postMessage({ kind: "stream", detail: source.state });
    if (source.state === "open") port.postMessage({ kind: "hello", detail: { version: null, slugs: [] } });
  },
  close(port) {
    ports.delete(port);
    if (!ports.size) source.close();
  },
  again() { source.again(); },
};

/**
 * A stream keeps the session that it was opened with, so another user's page gets one of its own. Pages that are left
 * from the session before get nothing more, and find by "closed" that they are another user's.
 */
function change(who) {
  user = who;
  source.close();
  for (const port of ports) port.postMessage({ kind: "stream", detail: "closed" });
  ports.clear();
}

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  port.onmessage = ({ data }) => WORK[data.work](port, data.who);
});
