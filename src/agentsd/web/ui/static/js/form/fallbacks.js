// The fallbacks of a section: a list of sections of the same kind, each with the fields of its vendor, so that a key is
// typed as a key here, too.

import { fill, h, newId } from "../dom.js";
import { sentence } from "../marks.js";
import { coded } from "./controls.js";
import { MASK } from "./fields.js";

/**
 * A control like those of `controls.js`, with the controls of its entries as `inner`. `entryOf(pointer, onchange)`
 * makes the fields of one entry: `{ element, controls, get, set, onturn }`.
 */
export function fallbackList(setting, { pointer, onchange, entryOf }) {
  const ids = { title: newId("title"), help: newId("help"), error: newId("error") };
  /** @type {any[]} */
  let entries = [];
  const list = h("ol.fallbacks");
  const error = h("p.error", { id: ids.error, hidden: true });
  const add = h("button.small", {
    type: "button", ariaDescribedby: `${ids.help} ${ids.error}`, onclick: () => append(),
  }, "Add a fallback");
  const element = h("div.field.sections", { role: "group", ariaLabelledby: ids.title },
    h("p.title", { id: ids.title }, setting.title), list, h("div.row", {}, add),
    h("p.help", { id: ids.help }, coded(setting.help)), error);
  element.dataset.pointer = pointer;

  function append(value = undefined) {
    const entry = entryOf(`${pointer}[${entries.length}]`, onchange);
    if (value !== undefined) entry.set(value);
    entries.push(entry);
    draw();
    if (value !== undefined) return;
    entry.controls[0].focus();
    onchange();
  }

  /** What a secret of a later entry is can only be told by its place, which changes: it has to be typed again. */
  function remove(index) {
    const kept = entries.map((one) => one.get());
    const later = kept.slice(index + 1).map(withoutMasks);
    set([...kept.slice(0, index), ...later]);
    add.focus();
    onchange();
  }

  function draw() {
    fill(list, entries.map((one, index) => h("li.stack", {},
      one.element,
      h("div.row", {}, h("button.small.danger", {
        type: "button", ariaLabel: `Remove fallback ${index + 1}`, onclick: () => remove(index),
      }, "Remove this fallback")))));
  }

  function set(value) {
    entries = [];
    for (const one of Array.isArray(value) ? value : []) append(one);
    draw();
  }

  return {
    element, setting, pointer, set,
    get inner() { return entries.flatMap((one) => one.controls); },
    get: () => (entries.length ? entries.map((one) => one.get()) : undefined),
    /** The value without the secrets that were typed. */
    shown: () => (entries.length ? entries.map((one) => one.shown()) : undefined),
    clear() { error.hidden = true; fill(error); },
    check: () => (entries.every((one) => one.get().provider) ? null : "choose a provider for each fallback"),
    fail(messages) {
      fill(error, messages.map(({ message, hint }) => h("span.block", {}, sentence(message),
        hint ? h("span.hint.block", {}, sentence(hint)) : null)));
      error.hidden = false;
    },
    askAgain() {},
    focus() {
      for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
      add.focus();
    },
  };
}

const withoutMasks = (entry) => Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== MASK));
