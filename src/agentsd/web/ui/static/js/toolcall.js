// Calls of tools, as pages show them.

import { isNullish } from "./data.js";
import { h } from "./dom.js";
import { millis } from "./format.js";

const WORDS = { client: "left to the application", in_progress: "running" };

/**
 * Return the outcome of a call and its duration. Without an outcome it is running.
 * @param {{ outcome?: string, milliseconds?: number | null }} call
 */
export function toolBadge({ outcome = "in_progress", milliseconds = null }) {
  const tone = { ok: "good", client: "", in_progress: "" }[outcome] ?? "bad";
  return [
    h("span.badge", { class: tone }, WORDS[outcome] ?? outcome.replaceAll("_", " ")),
    isNullish(milliseconds) ? null : h("span.soft.small", {}, ` ${millis(milliseconds)}`),
  ];
}
