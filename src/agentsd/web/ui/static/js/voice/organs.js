// The providers of an agent, and what a call lacks without them.

import { isNullish } from "../data.js";

const PARTS = { llm: "llm_provider_config", tts: "tts_provider_config", stt: "stt_provider_config" };

/** Return `{llm, tts, stt}`: the vendors' names, or "". */
export function organsOf(agent) {
  return Object.fromEntries(Object.entries(PARTS).map(([part, key]) => [part, agent[key]?.provider ?? ""]));
}

/** Return sentences: what it lacks, and what still works. */
export function lacks(agent) {
  const { llm, tts, stt } = organsOf(agent);
  const told = [];
  if (!stt) told.push("It cannot listen (no stt section in its manifest): write to it below.");
  if (!tts) told.push("It has no voice (no tts section in its manifest): it answers in writing.");
  if (!llm) {
    told.push(agent.greeting
      ? "It cannot answer (no llm section in its manifest): it only greets."
      : "It cannot answer (no llm section in its manifest).");
  }
  return told;
}

/** Return why no call can begin; "" where one can. */
export function barred(agent) {
  const { type, reason, message } = agent.condition ?? {};
  if (type === "Suspended") {
    return "This agent is suspended (active: false in its manifest): it takes no calls. "
      + "Choose another, or resume it.";
  }
  if (type === "Invalid" && isNullish(agent.serving_version)) return `This agent cannot serve: ${message || reason}`;
  return "";
}
