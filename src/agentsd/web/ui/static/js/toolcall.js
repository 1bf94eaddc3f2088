// Calls of tools, as pages show them.

import { isNullish } from "./data.js";
import { h } from "./dom.js";
import { millis } from "./format.js";

const TONES = { ok: "good", client: "", in_progress: "", stopped: "warn", confirmation_required: "warn" };
const WORDS = { client: "left to your application", in_progress: "running", stopped: "stopped" };

/**
 * Return the outcome of a call and its duration. Without an outcome it is running.
 * @param {{ outcome?: string, milliseconds?: number | null }} call
 */
export function toolBadge({ outcome = "in_progress", milliseconds = null }) {
  return [
    h("span.badge", { class: TONES[outcome] ?? "bad" }, WORDS[outcome] ?? outcome.replaceAll("_", " ")),
    isNullish(milliseconds) ? null : h("span.soft.small", {}, ` ${millis(milliseconds)}`),
  ];
}
