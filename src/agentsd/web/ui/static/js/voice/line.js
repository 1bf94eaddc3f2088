// One WebSocket to /v1/realtime: events both ways, and the reason for its end.

import { get, Problem, request } from "../api.js";

const GOING_AWAY = 1001;
const REFUSED = 1008;
const NO_UPGRADE = 426;
const AGENT_ENDED = "the agent ended the call"; // the server's reason, as a manifest's on_error or idle wants it
const ANEW = "call again; the agent begins anew";

/**
 * Open a call: `onEvent(event)` for each event of the server, `onClose(problem | null)` once, null after `hangUp`.
 * Resolves when open.
 * @param {string} slug
 * @param {{ onEvent: (event: any) => void, onClose: (problem: Problem | null) => void }} work
 * @returns {Promise<OpenLine>}
 */
export function dial(slug, { onEvent, onClose }) {
  const address = new URL("/v1/realtime", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.searchParams.set("model", slug);
  const socket = new WebSocket(address, ["realtime"]);
  const line = new Line(socket);
  socket.addEventListener("message", ({ data }) => onEvent(JSON.parse(data)));
  return new Promise((resolve, reject) => {
    let opened = false;
    socket.addEventListener("open", () => { opened = true; resolve(line); });
    socket.addEventListener("close", async (event) => {
      if (!opened) reject(await whyRefused(slug));
      else onClose(line.left ? null : await whyClosed(event));
    });
  });
}

/** @typedef {Line} OpenLine */

class Line {
  constructor(socket) {
    this.socket = socket;
    this.left = false;
  }

  /** Send an event; false where the socket is not open. */
  send(event) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  hangUp() {
    this.left = true;
    this.socket.close(1000);
  }
}

/** Ask by a plain request why a handshake was refused: a browser hides it. */
async function whyRefused(slug) {
  try {
    await request("GET", `/v1/realtime?model=${encodeURIComponent(slug)}`);
  } catch (problem) {
    if (problem.status === 503) {
      return told("this server has too many calls", "wait until another call ends, then call again");
    }
    if (problem.status !== NO_UPGRADE) return problem;
  }
  return told("the call was refused",
    "check whether the agent is suspended, and whether a proxy in between passes WebSockets");
}

async function whyClosed({ code, reason }) {
  if (code === REFUSED) {
    get("/api/session").catch(() => {}); // asks to sign in
    return told("your sign-in has ended, and the call with it", "sign in, then call again");
  }
  if (code === GOING_AWAY) {
    if (reason === AGENT_ENDED) return told(AGENT_ENDED, ANEW);
    return told(reason ? `the server ended the call: ${reason}` : "the server ended the call", ANEW);
  }
  return told("the connection was lost", `check that the server runs, then ${ANEW}`);
}

const told = (detail, hint) => new Problem(0, { detail, hint });
