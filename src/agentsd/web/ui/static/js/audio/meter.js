// The level of the microphone, as a bar and for screen readers.

import { h } from "../dom.js";

const EVERY_MS = 80;

/** `{element, show(level 0..1)}` */
export function meter(label) {
  const bar = h("div.meter-bar");
  const element = h("div.meter", {
    role: "meter", ariaLabel: label, ariaValueMin: 0, ariaValueMax: 100, ariaValueNow: 0,
  }, bar);
  let last = 0;
  function show(level) {
    const now = performance.now();
    if (level > 0 && now - last < EVERY_MS) return;
    last = now;
    const percent = Math.round(level * 100);
    element.setAttribute("aria-valuenow", String(percent));
    bar.style.inlineSize = `${percent}%`;
  }
  return { element, show };
}
