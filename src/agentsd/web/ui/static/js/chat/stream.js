// One answer of an agent, as it comes.

import { eventsOf, Problem, request } from "../api.js";

const CUT = { detail: "the answer was cut short", hint: "the connection to the server was lost: try again" };

/**
 * Ask `agent` (a slug) with all `messages`. Calls `told.agent(slug, version)` at first, and again, without a version,
 * where another agent takes over; `told.citations(list)` where there are any, and `told.text(piece)` for each piece.
 * Throws `Problem`, or an AbortError once `signal` is aborted.
 */
export async function ask(agent, messages, signal, told) {
  const reply = await request("POST", "/v1/chat/completions", {
    body: { model: agent, messages, stream: true }, signal,
  });
  let serving = reply.headers.get("X-Agent") ?? agent;
  told.agent(serving, Number(reply.headers.get("X-Agent-Version")));
  for await (const data of frames(reply)) {
    if (data === "[DONE]") return;
    const chunk = chunkOf(data);
    if (chunk.model && chunk.model !== serving) told.agent(serving = chunk.model, 0);
    take(chunk, told);
  }
  throw new Problem(0, CUT);
}

async function* frames(reply) {
  try {
    yield* eventsOf(reply);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, CUT);
  }
}

function chunkOf(data) {
  try { return JSON.parse(data); } catch { throw new Problem(0, CUT); }
}

function take(chunk, told) {
  if (chunk.error) throw new Problem(0, { detail: chunk.error.message, code: chunk.error.code });
  if (chunk.citations) told.citations(chunk.citations);
  const piece = chunk.choices?.[0]?.delta?.content;
  if (piece) told.text(piece);
}
