// Changes as git shows them: long lines wrap, the words that changed are marked, and what is long is folded.

import { joined, likeness, stepsBetween, wordsOf } from "./difference.js";
import { fill, h } from "./dom.js";
import { count } from "./format.js";

const LIKE_MIN = 0.35; // less alike, two lines are two lines
const CONTEXT = 3;
const FOLD_MIN = 3; // fewer unchanged lines are not worth a button
const SHOWN = 40;

/** @type {[RegExp, string][]} */
const KINDS = [[/^(\+\+\+|---|diff |new file|deleted file)/, "file"], [/^@@/, "at"], [/^\+/, "add"], [/^-/, "del"]];
const kindOf = (line) => KINDS.find(([pattern]) => pattern.test(line))?.[1] ?? "";

/**
 * A unified diff. `whole`: nothing is folded, since it is about to be written.
 * @param {string} text
 * @param {{ whole?: boolean }} [options]
 */
export function diff(text, { whole = false } = {}) {
  const lines = text.replace(/\n$/, "").split("\n");
  const place = h("div.diff", { role: "group", ariaLabel: "Changes", tabIndex: 0 });
  const shown = elementsOf(lines.map((line) => [kindOf(line), line]));
  if (whole) return fill(place, shown);
  const short = foldedContext(shown);
  return fill(place, short.length > SHOWN + FOLD_MIN ? cut(short) : short);
}

/** The diff of two texts that no server made. */
export function diffBetween(old, next) {
  const linesOf = (text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));
  const signs = { same: " ", del: "-", add: "+" };
  return diff(stepsBetween(linesOf(old), linesOf(next)).map(([kind, line]) => signs[kind] + line).join("\n"));
}

/** Two one-line texts in one: what is gone and what is new, between what stayed. Null where little stayed. */
export function wordsBetween(old, next) {
  const steps = stepsBetween(wordsOf(old), wordsOf(next));
  if (likeness(steps) < LIKE_MIN) return null;
  return joined(steps).map(([kind, text]) => (kind === "same" ? text : changed(kind, text)));
}

function changed(kind, text) {
  return kind === "del"
    ? h("del", {}, h("span.visually-hidden", {}, "was "), text)
    : h("ins", {}, h("span.visually-hidden", {}, "now "), text);
}

/** @param {string[][]} lines pairs of a kind and a line */
function elementsOf(lines) {
  const elements = [];
  for (let at = 0; at < lines.length;) {
    const gone = run(lines, at, "del");
    const come = run(lines, at + gone.length, "add");
    if (gone.length && come.length) {
      elements.push(...pairs(gone, come));
      at += gone.length + come.length;
    } else {
      elements.push(lineOf(lines[at][0], lines[at][1] || " "));
      at += 1;
    }
  }
  return elements;
}

function run(lines, at, kind) {
  let end = at;
  while (lines[end]?.[0] === kind) end += 1;
  return lines.slice(at, end).map(([, line]) => line);
}

const lineOf = (kind, ...content) => h("div", { class: kind }, content);

/** Mark the words that differ in lines that stand for each other. */
function pairs(gone, come) {
  const steps = gone.slice(0, come.length).map((line, index) => {
    const found = stepsBetween(wordsOf(line.slice(1)), wordsOf(come[index].slice(1)));
    return likeness(found) < LIKE_MIN ? null : joined(found);
  });
  const one = (kind, sign) => (line, index) => (steps[index]
    ? lineOf(kind, sign, steps[index].filter(([name]) => name === "same" || name === kind)
      .map(([name, text]) => (name === "same" ? text : h("mark", {}, text))))
    : lineOf(kind, line));
  return [...gone.map(one("del", "-")), ...come.map(one("add", "+"))];
}

/** Fold unchanged lines that are far from a change. */
function foldedContext(elements) {
  const changes = elements.map((one, index) => (one.className ? index : -1)).filter((index) => index >= 0);
  if (!changes.length) return elements;
  const near = new Set(changes.flatMap((at) => Array.from({ length: 2 * CONTEXT + 1 }, (_, by) => at - CONTEXT + by)));
  const found = [];
  for (let at = 0; at < elements.length;) {
    let end = at;
    while (end < elements.length && !near.has(end)) end += 1;
    if (end - at > FOLD_MIN) found.push(fold(elements.slice(at, end), `${count(end - at)} unchanged lines`));
    else found.push(...elements.slice(at, end));
    if (end < elements.length) found.push(elements[end]);
    at = end + 1;
  }
  return found;
}

const cut = (elements) => [
  ...elements.slice(0, SHOWN), fold(elements.slice(SHOWN), `${count(elements.length - SHOWN)} more lines`),
];

function fold(elements, label) {
  const button = h("button.plain.small.fold", { type: "button", onclick: show }, `Show ${label}`);
  function show() {
    button.replaceWith(...elements);
    elements[0].closest(".diff")?.focus({ preventScroll: true });
  }
  return button;
}
