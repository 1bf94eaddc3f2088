// Small pieces that several pages show.

import { copyText } from "./clipboard.js";
import { isNullish } from "./data.js";
import { h } from "./dom.js";
import { ago, full, short } from "./format.js";

/**
 * The condition of an agent or a file.
 * @typedef {object} Condition
 * @property {string} type Ready, Degraded, Invalid or Suspended
 * @property {string} [reason]
 * @property {string} [message]
 * @property {string | null} [since]
 */

/**
 * The status of an agent: whether it answers.
 * @typedef {object} Status
 * @property {string} word Ready, Untested, Suspended, File refused or Failing
 * @property {string} reason
 * @property {string} message
 * @property {string} fix
 * @property {string} field of the manifest, to be edited
 * @property {string | null} since
 */

const TONES = { Ready: "good", Degraded: "warn", Invalid: "bad", Suspended: "" };
const STATUS_TONES = { Ready: "good", Untested: "", Suspended: "", "File refused": "bad", Failing: "bad" };

/** The tone of a condition: good, warn, bad or none. */
const toneOf = (condition) => TONES[condition?.type] ?? "bad";

/** The tone of a status. */
export const statusTone = (status) => STATUS_TONES[status?.word] ?? "bad";

/** A status as a badge; why, where something has to be done, as its title. */
export function statusBadge(status) {
  return h("span.badge", { class: statusTone(status), title: status.message || null }, status.word);
}

/** A condition as a badge, its type by another `word` where one is given; why, where it is not Ready, as its title. */
export function conditionBadge(condition, word = condition.type) {
  const title = [condition.reason, condition.message].filter(Boolean).join(": ");
  return h("span.badge", { class: toneOf(condition), title: title || null }, word);
}

/** Return a time as "3 minutes ago"; the full time on hover. */
export function when(time) {
  return isNullish(time)
    ? h("span.soft", {}, "–")
    : h("time", { datetime: String(time), title: full(time) }, ago(time));
}

const TRIGGERS = { watch: "files changed", api: "by a page or the API", cli: "by a command", pull: "pulled" };

/** Return what started a run, in words. */
export const startedBy = (trigger) => TRIGGERS[trigger] ?? trigger;

/** Return a commit, or that there is none: the files of an agent were not committed when they were applied. */
export const commitOf = (commit) => (commit
  ? h("code", { title: commit }, short(commit))
  : h("span.soft", { title: "its files were not committed when they were applied" }, "not committed"));

/** Return a notice of a problem. */
export function notice(problem, tone = "bad") {
  const hint = problem.hint && problem.hint !== problem.message ? h("p.hint", {}, sentence(problem.hint)) : null;
  return h("div.notice", { class: tone, role: "alert" }, h("p", {}, sentence(problem.message)), hint);
}

/** Return a message as a sentence: messages begin in lower case, to follow a file's name. Names stay. */
export const sentence = (text) => (/^[a-z]+([\s,;]|$)/.test(text ?? "")
  ? text[0].toUpperCase() + text.slice(1)
  : text ?? "");

/** A text with a button that copies it. */
export function copyable(text) {
  const shown = h("pre", { tabIndex: 0 }, text);
  const button = h("button.small", { type: "button", onclick: copy }, "Copy");
  async function copy() {
    if (!(await copyText(text, button))) getSelection().selectAllChildren(shown);
  }
  return h("div.stack.copyable", {}, shown, h("div.row", {}, button));
}
