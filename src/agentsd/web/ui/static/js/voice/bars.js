// The turns of a call as bars: how long each step took, up to the first sound.

import { fill, h } from "../dom.js";
import { millis } from "../format.js";
import { lengthOf, stepsOf } from "./turns.js";

/** @import { Turn } from "./turns.js" */

const SHOWN = 12;
const NAMES = {
  pause: "Pause", stt: "STT", llm: "LLM", tool: "Tools", tts: "TTS", way: "On the way",
  failed: "Failed after",
};
const REASONS = {
  interrupted: ["warn", "interrupted"], failed: ["bad", "failed"], cancelled: ["warn", "cancelled"],
  unheard: ["", "no words"], ignored: ["", "ignored"], echo: ["", "echo"], unanswered: ["", "not answered"],
  dropped: ["", "dropped"],
};

/** `{element, show(turns)}`: the latest first. */
export function turnList() {
  const list = h("ol.turns", { role: "list", ariaLabel: "Turns, the latest first" });
  const none = h("p.soft.small", {}, "No turn yet.");
  let state = "";
  /** @param {Turn[]} turns */
  function show(turns) {
    const now = JSON.stringify(turns);
    if (now === state) return;
    state = now;
    none.hidden = turns.length > 0;
    list.hidden = !none.hidden;
    fill(list, rowsOf(turns).slice(-SHOWN).reverse());
  }
  list.hidden = true;
  return { element: h("div", {}, none, list), show };
}

/** Return an element for each turn, in order; their bars have one scale. */
export function rowsOf(turns) {
  const all = turns.map(stepsOf);
  const longest = Math.max(1, ...all.map(lengthOf));
  return turns.map((turn, index) => row(turn, all[index], index + 1, longest));
}

function row(turn, steps, number, longest) {
  const [tone, outcome] = REASONS[turn.reason] ?? ["", ""];
  return h("li", {},
    h("div.row.spread", {},
      h("span", {}, `${number} ${turn.kind} `, outcome && h("span.badge", { class: tone }, outcome)),
      steps.length ? h("strong.number", {}, millis(lengthOf(steps))) : null),
    h("div.by", {}, turn.agent ?? (turn.reason ? "no answer" : "no answer yet"),
      turn.discarded ? [" · ", h("s", { title: "begun before you had finished" }, earlyOf(turn))] : null),
    steps.length ? [barOf(steps, longest), keysOf(steps)] : null);
}

const earlyOf = ({ discarded }) => `${discarded} early ${discarded === 1 ? "answer" : "answers"}`;

function barOf(steps, longest) {
  return h("div.steps", { ariaHidden: true }, steps.map(({ name, ms }) => {
    const part = h("span.step", { class: name });
    part.style.inlineSize = `${(ms / longest) * 100}%`;
    return part;
  }));
}

const keysOf = (steps) => h("ul.keys", { role: "list" }, steps.map(({ name, ms }) => (
  h("li.key", { class: name }, `${NAMES[name]} `, h("span.number", {}, millis(ms))))));

/** Return a line of text for a turn. */
export function lineOf(turn, number) {
  const steps = stepsOf(turn);
  const all = steps.map(({ name, ms }) => `${NAMES[name]} ${millis(ms)}`).join(", ");
  const [, outcome] = REASONS[turn.reason] ?? ["", ""];
  const early = turn.discarded ? `${earlyOf(turn)} thrown away` : "";
  return [`${number} ${turn.kind}`, turn.agent, outcome, early, all && `${millis(lengthOf(steps))} (${all})`]
    .filter(Boolean).join(", ");
}
