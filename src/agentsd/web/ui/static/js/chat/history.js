// The list of conversations: open, rename, delete.

import { byId, fill, h, newId } from "../dom.js";
import { confirm, dialog } from "../dialogs.js";
import { when } from "../marks.js";

/** @import { Store } from "./store.js" */

/** Draws the list; `work` has `open(id)`, `changed()` after a name or a deletion, and `current()`, an id. */
export class History {
  state = ""; // the state that is drawn

  /**
   * @param {Store} store
   * @param {{ open: (id: string) => void, changed: () => void, current: () => string }} work
   */
  constructor(store, work) {
    this.store = store;
    this.work = work;
    addEventListener("storage", ({ key }) => { if (key === store.key) this.draw(); });
    fold();
  }

  /** Draw the kept conversations; the focus in the list stays. */
  draw() {
    const all = this.store.all();
    const state = JSON.stringify([this.work.current(), all.map((one) => [one.id, one.title])]);
    if (state === this.state) return;
    this.state = state;
    const list = byId("history-list");
    const back = focusIn(list);
    fill(list, all.length ? all.map((one) => this.row(one)) : h("li.soft.small", {}, "None yet."));
    back();
  }

  row(one) {
    const current = one.id === this.work.current();
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.work.open(one.id);
    };
    return h("li", { dataset: { id: one.id } },
      h("a", { href: `?chat=${one.id}`, ariaCurrent: current ? "true" : null, onclick: open },
        h("span.title", {}, one.title),
        h("span.small.soft", {}, when(new Date(one.updated).toISOString()))),
      h("div.row", {},
        h("button.plain.small", { type: "button", ariaLabel: `Rename ${one.title}`, onclick: () => this.rename(one) },
          "Rename"),
        h("button.plain.small", { type: "button", ariaLabel: `Delete ${one.title}`, onclick: () => this.remove(one) },
          "Delete")));
  }

  async rename(one) {
    const title = await dialog("Rename this conversation", (close) => form(one.title, close));
    if (!title) return;
    this.store.rename(one.id, title);
    this.work.changed();
  }

  async remove(one) {
    const said = `“${one.title}” is stored only here, so this cannot be undone.`;
    if (!(await confirm("Delete this conversation?", said, { action: "Delete", danger: true }))) return;
    this.store.remove(one.id);
    this.work.changed();
    byId("question").focus();
  }
}

/** Return a function that restores the focus in the list. */
function focusIn(list) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const held = /** @type {HTMLElement | null} */ (focused.closest("#history-list li"));
  if (!held) return () => {};
  const parts = (row) => /** @type {HTMLElement[]} */ (row ? [...row.querySelectorAll("a, button")] : []);
  const at = parts(held).indexOf(focused);
  return () => {
    const rows = /** @type {HTMLElement[]} */ ([...list.children]);
    const [link, ...buttons] = parts(rows.find((one) => one.dataset.id === held.dataset.id));
    link?.focus(); // the buttons are shown where the focus is
    buttons[at - 1]?.focus();
  };
}

function form(title, close) {
  const id = newId("title");
  const field = h("input", {
    id, value: title, required: true, maxLength: 100, autofocus: true, onfocus: () => field.select(),
    autocomplete: "off",
  });
  const submit = (event) => { event.preventDefault(); close(field.value.trim()); };
  return h("form.stack", { onsubmit: submit },
    h("div.field", {}, h("label", { htmlFor: id }, "Title"), field),
    h("div.row.end", {},
      h("button", { type: "button", onclick: () => close() }, "Cancel"),
      h("button.primary", { type: "submit" }, "Rename")));
}

/** Fold the list away on a phone, until its button opens it. */
function fold() {
  const button = byId("history-button");
  const list = byId("history");
  const set = (open) => {
    list.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => set(!list.classList.contains("open")));
  list.addEventListener("click", ({ target }) => {
    if (/** @type {Element} */ (target).closest("a, #new-chat")) set(false);
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && list.classList.contains("open")) { set(false); button.focus(); }
  });
}
