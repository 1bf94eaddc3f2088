// The transcript of a recording, as it comes, and how long it took.

import { copyText } from "../clipboard.js";
import { fill, h } from "../dom.js";
import { millis } from "../format.js";

/** `{element, begin(name), partial(text), final(text), whole(text), failed(), show(times)}` */
export function resultView() {
  const final = h("span");
  const partial = h("span.partial");
  const said = h("p.heard", { ariaLive: "polite", ariaBusy: false, tabIndex: 0 }, final, partial);
  const copy = h("button.small", { type: "button", onclick: copied }, "Copy");
  const facts = h("dl.facts.times");
  const source = h("p.soft.small.source");
  const element = h("section.card.stack", { ariaLabelledby: "result-head", hidden: true },
    h("div.row.spread", {}, h("h2", { id: "result-head" }, "Transcript"), copy), source, said, facts);

  async function copied() {
    if (!(await copyText(final.textContent, copy))) getSelection().selectAllChildren(final);
  }

  function begin(name) {
    element.hidden = false;
    copy.disabled = true;
    said.setAttribute("aria-busy", "true");
    fill(source, name);
    fill(final);
    fill(partial);
    fill(facts);
  }

  function done(text) {
    said.setAttribute("aria-busy", "false");
    fill(partial);
    fill(final, text || h("em.soft", {}, "No words were recognised."));
    copy.disabled = !text;
  }

  function show(times) {
    const factor = times.total && times.audio ? times.total / 1000 / times.audio : null;
    const rows = [
      ["Sound", millis(times.audio * 1000)], ["Uploaded", millis(times.upload)],
      ["First partial", millis(times.partial)],
      ["First final words", millis(times.final)], ["Whole", millis(times.total)],
      [
        "Real-time factor",
        factor === null ? "–" : `${factor.toFixed(2)} (${factor < 1 ? "faster" : "slower"} than speech)`,
      ],
      ["Transcribed by", times.agent ?? "–"],
    ];
    fill(facts, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  return {
    element, begin, show, done,
    partial: (text) => fill(partial, text.startsWith(final.textContent) ? text.slice(final.textContent.length) : text),
    final: (delta) => { final.append(delta); fill(partial); },
    failed: () => { element.hidden = !final.textContent; said.setAttribute("aria-busy", "false"); fill(partial); },
  };
}
