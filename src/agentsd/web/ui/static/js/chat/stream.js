// One answer of an agent, as it comes.

/** @import { Call } from "./calls.js" */

import { eventsOf, Problem, request } from "../api.js";

const CUT = { detail: "the answer was cut short", hint: "the connection to the server was lost: try again" };

/**
 * Ask `agent` (a slug) with all `messages`. Calls `told.agent(slug, version)` at first, and again, without a version,
 * where another agent takes over; `told.citations(list)` where there are any, `told.call(call)` for the beginning and
 * the end of each call of a tool, and `told.text(piece)` for each piece. Consents belong to the id `conversation`.
 * Throws `Problem`, or an AbortError once `signal` is aborted.
 */
export async function ask(agent, messages, conversation, signal, told) {
  const reply = await request("POST", "/v1/chat/completions", {
    body: { model: agent, messages, stream: true, stream_options: { include_tools: true } },
    headers: { "X-Conversation-Id": conversation }, signal,
  });
  let serving = reply.headers.get("X-Agent") ?? agent;
  told.agent(serving, Number(reply.headers.get("X-Agent-Version")));
  /** @type {Map<number, Call>} those that are left to the client, by their index */
  const left = new Map();
  for await (const data of frames(reply)) {
    if (data === "[DONE]") {
      for (const call of left.values()) told.call(call);
      return;
    }
    const chunk = chunkOf(data);
    if (chunk.model && chunk.model !== serving) told.agent(serving = chunk.model, 0);
    take(chunk, told);
    for (const piece of chunk.choices?.[0]?.delta?.tool_calls ?? []) collect(left, piece);
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
  if (chunk.tool_call) told.call(chunk.tool_call);
  const piece = chunk.choices?.[0]?.delta?.content;
  if (piece) told.text(piece);
}

/** Add a piece of a call that is left to the client: this page cannot make it, and shows it. */
function collect(left, { index, id, function: part }) {
  const call = left.get(index) ?? { id: "", name: "", arguments: "", outcome: "client", output: "" };
  left.set(index, call);
  call.id ||= id ?? "";
  call.name ||= part?.name ?? "";
  call.arguments += part?.arguments ?? "";
}
