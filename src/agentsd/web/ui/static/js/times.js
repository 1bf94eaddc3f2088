// Relative times, kept current while a page is open.

import { ago } from "./format.js";

const EVERY_MS = 20_000;

/** Keep every `<time>` of the page current. */
export function keepTimes() {
  setInterval(() => {
    if (document.hidden) return;
    /** @type {NodeListOf<HTMLTimeElement>} */
    const times = document.querySelectorAll("time[datetime]");
    for (const one of times) {
      const text = ago(one.dateTime);
      if (one.textContent !== text) one.textContent = text;
    }
  }, EVERY_MS);
}
