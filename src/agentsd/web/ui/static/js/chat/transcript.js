// The transcript: questions, answers, and notes on the agent that answers.

import { copyText } from "../clipboard.js";
import { isNullish } from "../data.js";
import { fill, h } from "../dom.js";
import { millis } from "../format.js";
import { notice } from "../marks.js";
import { AnswerText } from "../markdown.js";
import { CallFolds } from "./calls.js";
import { marker, sources } from "./citations.js";

/** @import { Turn } from "./store.js" */

/** " v41"; "" where an agent took over in the middle of an answer, which does not tell. */
const versionOf = ({ version }) => (version ? ` v${version}` : "");

/** Return the note before an answer of another agent, or of another version, than before; "" for the same. */
function changeOf(before, turn) {
  if (!before || !turn.agent) return "";
  if (before.agent !== turn.agent) return [`now answered by `, h("code", {}, turn.agent), versionOf(turn)];
  return before.version === turn.version || !before.version || !turn.version
    ? ""
    : [h("code", {}, turn.agent), ` changed: v${before.version} → v${turn.version}`];
}

/** A question: `end(last)` offers to edit the last one. */
export class Question {
  /**
   * @param {Turn} turn
   * @param {{ edit: (text: string) => void }} work
   */
  constructor(turn, { edit }) {
    this.edit = edit;
    this.turn = turn;
    this.foot = h("div");
    this.element = h("article.turn.question", { ariaLabel: "You" }, h("p.said", {}, turn.text), this.foot);
  }

  /** Show its actions. */
  end(last) {
    const button = h("button.small.plain", { type: "button", onclick: () => this.edit(this.turn.text) }, "Edit");
    fill(this.foot, last ? h("div.row.actions", {}, button) : null);
  }

  /** What is shown, in order. */
  get nodes() { return [this.element]; }
}

/** An answer: `write()` while it comes, `settle()` once it has ended, successfully or not. */
export class Answer {
  /** @type {HTMLElement | null} a note on the agent, above the answer */
  note = null;

  /**
   * @param {Turn} turn
   * @param {{ retry: () => void, drawn: () => void }} work
   */
  constructor(turn, { retry, drawn }) {
    this.turn = turn;
    this.retry = retry;
    this.drawn = drawn;
    this.body = h("div.prose");
    this.calls = new CallFolds(turn.calls ??= []);
    this.who = h("p.who-answers");
    this.foot = h("div.foot");
    this.element = h("article.turn.answer", { ariaLabel: "Answer" },
      this.who, this.calls.element, this.body, this.foot);
    this.shown = new AnswerText(this.body, marker(() => turn.citations ?? []), drawn);
    this.name();
  }

  /** What is shown, in order. */
  get nodes() { return this.note ? [this.note, this.element] : [this.element]; }

  /** Show whose answer it is, once that is known, and whether the answer `before` was of another agent. */
  name(before = null) {
    const { agent, version } = this.turn;
    const change = changeOf(before, this.turn);
    this.note = change ? h("div.note", {}, h("span", {}, change)) : null;
    fill(this.who, agent ? [agent, h("span.soft", {}, versionOf({ version }))] : null);
    if (agent) this.element.setAttribute("aria-label", `Answer of ${agent}`);
  }

  /** Show that it is coming. */
  begin() {
    this.element.setAttribute("aria-busy", "true");
    this.element.classList.add("coming");
  }

  /** Show all of the text so far. */
  write() { this.shown.update(this.turn.text); }

  /** Show the calls of tools so far. */
  showCalls() {
    this.calls.update(this.turn.state !== "coming");
    this.drawn();
  }

  /** Show that it has ended; resolves once all of it is rendered. */
  async settle() {
    this.showCalls();
    await this.shown.finish(this.turn.text);
    this.element.removeAttribute("aria-busy");
    this.element.classList.remove("coming");
  }

  /** Show what is below it: sources, the error, and the actions. The `last` one can be repeated. */
  end(last) {
    const { turn } = this;
    if (turn.state === "coming") return;
    fill(this.foot,
      sources(turn.citations ?? []),
      turn.state === "failed" ? notice(turn.problem) : null,
      h("div.row.actions", {}, this.buttons(last), h("span.small.soft.times", {}, timesOf(turn))));
  }

  buttons(last) {
    const copy = h("button.small.plain", { type: "button", onclick: () => copyText(this.turn.text, copy) }, "Copy");
    const again = h("button.small", {
      class: this.turn.state === "failed" ? "" : "plain", type: "button", onclick: () => this.retry(),
    }, "Retry");
    return [last ? again : null, this.turn.text ? copy : null];
  }
}

function timesOf(turn) {
  const times = isNullish(turn.first) ? "" : `first token ${millis(turn.first)}, ${millis(turn.total)} in all`;
  const stopped = turn.state === "stopped" ? h("span.badge.warn", {}, "stopped") : null;
  return stopped && times ? [stopped, " ", times] : stopped ?? times;
}

/** Return the content of an empty conversation: the agent and its greeting. */
export function greeting(agent) {
  const lacks = !agent.llm_provider_config?.provider;
  return h("div.empty.greeting", {},
    h("h3", {}, agent.name),
    agent.description ? h("p", {}, agent.description) : null,
    agent.greeting ? h("p.hello", {}, agent.greeting) : null,
    agent.description || agent.greeting || lacks
      ? null
      : h("p", {}, "Ask something. Agents can be switched in the middle of a conversation."),
    lacks
      ? h("p", {},
        "This agent has no ", h("code", {}, "llm"), ", so it cannot answer in writing. Choose another one above.")
      : null);
}
