// The table of turns.

import { fill, h } from "../dom.js";
import { millis } from "../format.js";

const SHOWN = 12;
const HEADS = ["Turn", "Noticed", "Heard", "First word", "First sound"];
const OUTCOMES = { cancelled: ["warn", "interrupted"], failed: ["bad", "failed"] };

/** `{element, show(turns)}` */
export function latencyTable() {
  const body = h("tbody");
  const none = h("p.soft.small", {}, "No turn yet.");
  const table = h("table.cards", {},
    h("caption.visually-hidden", {}, "How long each turn took"),
    h("thead", {}, h("tr", {}, HEADS.map((head) => h("th", { scope: "col" }, head)))), body);
  const wrap = h("div.table-wrap", { hidden: true }, table);
  function show(turns) {
    wrap.hidden = turns.length === 0;
    none.hidden = !wrap.hidden;
    fill(body, turns.map(row).slice(-SHOWN).reverse());
  }
  return { element: h("div", {}, none, wrap), show };
}

function row(turn, index) {
  const times = [turn.noticed, turn.heard, turn.token, turn.sound];
  const [tone, outcome] = OUTCOMES[turn.status] ?? ["", ""];
  return h("tr", {},
    h("td", { dataset: { label: HEADS[0] } },
      `${index + 1} ${turn.kind} `,
      outcome && h("span.badge", { class: tone }, outcome),
      h("span.by", {}, turn.agent ?? "no answer yet")),
    times.map((ms, at) => h("td.number", { dataset: { label: HEADS[at + 1] } }, millis(ms))));
}
