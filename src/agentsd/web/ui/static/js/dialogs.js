// Questions and short messages.

import { byId, fill, h, newId } from "./dom.js";
import { notice } from "./marks.js";

const TOAST_MS = 6000;

/** Show a short message in the corner. `tone`: "" or "bad". */
export function toast(text, tone = "") {
  const shown = h("div.toast", { class: tone }, text);
  byId("toasts").append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

/**
 * Show a modal dialog with the nodes that `content(close)` returns. Resolves with what `close` was given,
 * or undefined on Escape.
 * @param {string} title
 * @param {(close: (value?: any) => void) => any} content
 * @param {{ wide?: boolean }} [options]
 * @returns {Promise<any>}
 */
export function dialog(title, content, { wide = false } = {}) {
  const id = newId("title");
  const box = h("dialog", { class: wide ? "wide" : "", ariaLabelledby: id });
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  return new Promise((resolve) => {
    let result;
    const close = (value) => { result = value; box.close(); };
    box.addEventListener("close", () => { box.remove(); giveBack(before); resolve(result); });
    fill(box, h("h2", { id }, title), content(close));
    document.body.append(box);
    box.showModal();
  });
}

/** Return the focus to where it was; if that element is gone, to the page's content. */
function giveBack(before) {
  before?.focus?.();
  if (document.activeElement === document.body) byId("main").focus({ preventScroll: true });
}

/**
 * Ask before something that cannot be undone. `typed`: a word that has to be typed.
 * `work()` is awaited with the dialog open, and what it throws is shown there. Resolves with its result or undefined.
 * @param {string} title
 * @param {string} text
 * @param {{ action?: string, typed?: string, danger?: boolean, work?: () => any, more?: Node }} [options]
 * @returns {Promise<any>}
 */
export function confirm(title, text, {
  action = "Continue", typed = null, danger = false, work = () => true, more = null,
} = {}) {
  return dialog(title, (close) => {
    const errors = h("div");
    const button = h(`button.${danger ? "danger" : "primary"}`, { type: "submit", disabled: typed !== null }, action);
    const id = newId("typed");
    const field = typed === null ? null : h("input", {
      id, autocomplete: "off", spellcheck: "false", oninput: () => { button.disabled = field.value !== typed; },
    });
    const submit = async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      try {
        close(await work());
      } catch (problem) {
        fill(errors, notice(problem));
        button.disabled = false;
        button.focus();
      }
    };
    return h("form.stack", { onsubmit: submit },
      h("p", {}, text), more,
      field && h("div.field", {}, h("label", { htmlFor: id }, "Type ", h("code", {}, typed), " to confirm"), field),
      errors,
      h("div.row.end", {}, h("button", { type: "button", onclick: () => close() }, "Cancel"), button));
  });
}
