// Copying a text. Browsers offer `navigator.clipboard` over https and on the server's machine only.

import { h } from "./dom.js";

const SHOWN_MS = 1500;

/** Copy a text, and confirm it on the button that was pressed; returns whether it worked. */
export async function copyText(text, button) {
  const done = await copy(text);
  const before = (button.dataset.label ??= button.textContent);
  button.textContent = done ? "Copied" : "Select the text instead";
  setTimeout(() => { button.textContent = before; }, done ? SHOWN_MS : 2 * SHOWN_MS);
  return done;
}

/** Copy a text; returns whether the browser let the page do it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { return copySelected(text); }
}

/** Copy as a person does: select, and copy what is selected. A modal dialog keeps the focus inside it. */
function copySelected(text) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const field = h("textarea.visually-hidden", { readOnly: true, ariaLabel: "Copied text", value: text });
  ([...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return done;
}
