// The result of a synthesis: how long it took, and the whole recording, to play and to download.

import { wavOf } from "../audio/wav.js";
import { fill, h } from "../dom.js";
import { bytes, millis } from "../format.js";

/** `{element, show(times, made), whole({rate, samples}, slug), clear()}` */
export function resultView() {
  const facts = h("dl.facts.times");
  const kept = h("div.stack");
  const element = h("section.card.stack", { ariaLabelledby: "result-head", hidden: true },
    h("h2", { id: "result-head" }, "Result"),
    facts,
    kept);
  let address = null;

  function clear() {
    element.hidden = true;
    fill(kept);
    if (address) URL.revokeObjectURL(address);
    address = null;
  }

  /** `times` {byte, sound, total} in ms, null while they have not come; `made` {samples, rate}. */
  function show(times, made) {
    element.hidden = false;
    const rows = [
      ["First byte", millis(times.byte)], ["First sound", millis(times.sound)], ["Whole", millis(times.total)],
      ["Length", made.rate ? millis((made.samples / made.rate) * 1000) : "–"],
      [
        "Size",
        made.rate ? `${bytes(made.samples * 2 + 44)}, 16-bit mono at ${made.rate.toLocaleString("en")} Hz` : "–",
      ],
      ["Answered by", made.agent ?? "–"],
    ];
    fill(facts, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  function whole({ rate, samples }, slug) {
    const file = wavOf(samples, rate);
    const name = `${slug.replace(/[^\w.-]+/g, "-")}.wav`;
    address = URL.createObjectURL(file);
    fill(kept,
      h("audio", { src: address, controls: true, preload: "metadata", ariaLabel: "The whole recording" }),
      h("div.row", {}, h("a.button", { href: address, download: name }, `Download ${name}`)));
  }

  return { element, show, whole, clear };
}
