// The calls of tools in an answer, each folded: its name and outcome, and inside its arguments and result.

import { fill, h } from "../dom.js";
import { toolBadge } from "../toolcall.js";

const MOST_CHARACTERS = 4000;

/**
 * A call as it is kept. Without an outcome it has not ended.
 * @typedef {object} Call
 * @property {string} id
 * @property {string} name
 * @property {string} arguments
 * @property {string} [outcome]
 * @property {string} [output]
 * @property {number} [milliseconds]
 */

/**
 * Note the beginning or the end of a call in `calls`. Vendors may use an id again in a later round.
 * @param {Call[]} calls
 * @param {Call} seen
 */
export function noteCall(calls, { id, name, arguments: given, outcome, output, milliseconds }) {
  const known = outcome ? calls.find((one) => one.id === id && !one.outcome) : undefined;
  const call = known ?? { id, name, arguments: cut(given) };
  if (outcome) Object.assign(call, { outcome, output: cut(output), milliseconds });
  if (!known) calls.push(call);
}

/** Return a text as it is kept: a browser keeps little. */
const cut = (text = "") => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text);

/** The folds of an answer. */
export class CallFolds {
  /** @param {Call[]} calls */
  constructor(calls) {
    this.calls = calls;
    this.folds = new Map();
    this.element = h("div.calls", { role: "group", ariaLabel: "Tool calls", hidden: true });
  }

  /** Show the calls as they are now; folds stay as the reader left them. `over`: the answer has ended. */
  update(over) {
    this.element.hidden = !this.calls.length;
    for (const call of this.calls) {
      const { mark, content } = this.folds.get(call) ?? this.add(call);
      const outcome = call.outcome ?? (over ? "stopped" : "in_progress");
      fill(mark, toolBadge({ outcome, milliseconds: call.milliseconds }));
      fill(content, part("Arguments", call.arguments), call.outcome ? part("Result", call.output) : null);
    }
  }

  add(call) {
    const fold = { mark: h("span"), content: h("dl") };
    this.folds.set(call, fold);
    this.element.append(h("details", {},
      h("summary", {}, h("code", {}, call.name), " ", fold.mark), fold.content));
    return fold;
  }
}

const part = (name, text) => (text
  ? [h("dt", {}, name), h("dd", {}, h("pre", { tabIndex: 0, ariaLabel: name, role: "region" }, text))]
  : null);
