// The sources of an answer: marks in the text that open the passage, and a list below.

import { fill, h } from "../dom.js";

const MARK = /\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]/g;

/** "faq.md › Opening hours" */
const placeOf = (one) => (one.heading ? `${one.source} › ${one.heading}` : one.source);

/** Return a function that makes buttons of each [1] in a text that has such a passage, of `citations()`. */
export function marker(citations) {
  return (text) => {
    const found = new Map(citations().map((one) => [one.number, one]));
    if (!found.size) return text;
    const nodes = [];
    let end = 0;
    for (const match of text.matchAll(MARK)) {
      const numbers = match[1].split(",").map(Number);
      if (!numbers.every((number) => found.has(number))) continue;
      nodes.push(text.slice(end, match.index), numbers.map((number) => cite(found.get(number))));
      end = match.index + match[0].length;
    }
    const place = document.createDocumentFragment();
    place.append(...[...nodes.flat(), text.slice(end)].filter((one) => one !== ""));
    return place;
  };
}

function cite(citation) {
  const button = h("button.cite", {
    type: "button", ariaHaspopup: "dialog", ariaLabel: `Source ${citation.number}: ${placeOf(citation)}`,
    onclick: () => open(citation, button),
  }, `[${citation.number}]`);
  return button;
}

/** Return the passages of an answer as a list of folds. */
export function sources(citations) {
  if (!citations.length) return null;
  return h("div.sources", { role: "group", ariaLabel: "Sources" },
    h("p.small.soft", {}, citations.length === 1 ? "1 source" : `${citations.length} sources`),
    citations.map((one) => h("details", {},
      h("summary", {}, h("span.number", {}, `[${one.number}]`), " ", placeOf(one)),
      h("blockquote.passage-text", {}, one.text))));
}

/** The passage beside the mark. Escape, or a click elsewhere, closes it, and the focus is where it was. */
function open(citation, button) {
  const close = h("button.small", { type: "button", onclick: () => box.hidePopover() }, "Close");
  const box = h("div.passage", { popover: "auto", role: "dialog", ariaLabel: `Source ${citation.number}` });
  box.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    if (box.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    box.remove();
  });
  fill(box,
    h("p.passage-head", {}, h("strong", {}, placeOf(citation)), close),
    h("div.passage-text", { tabIndex: 0 }, citation.text));
  button.closest(".turn").append(box); // not beside the mark: its paragraph may be redrawn while text comes
  box.showPopover();
  beside(box, button);
  close.focus();
}

function beside(box, button) {
  const at = button.getBoundingClientRect();
  const below = at.bottom + 6 + box.offsetHeight <= innerHeight;
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - 6 - box.offsetHeight)}px`;
}
