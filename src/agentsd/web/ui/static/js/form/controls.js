// One field: its label, input, help and error; a sealed value shows as "unchanged".

import { fill, h, newId } from "../dom.js";
import { sentence } from "../marks.js";
import { MASK, problemOf } from "./fields.js";
import { inputOf } from "./inputs.js";

/** The value of a required secret on a page that cannot save: it only means that one exists. */
export const SOME_SECRET = "sealed elsewhere";

/**
 * `{ element, setting, pointer, get, set, check, fail, clear, focus, askAgain }`. `where`: `{ pointer, onchange,
 * manual }`; `manual`: nothing can be saved here, so secrets are not asked for.
 * @param {Record<string, any>} setting of `fields.js`
 * @param {{ pointer: string, onchange: () => void, manual?: boolean }} where
 */
export function control(setting, { pointer, onchange, manual }) {
  const ids = { input: newId("field"), help: newId("help"), error: newId("error") };
  const input = inputOf(setting, {
    id: ids.input, ariaDescribedby: `${ids.help} ${ids.error}`, ...(setting.required ? { ariaRequired: "true" } : {}),
  });
  const error = h("p.error", { id: ids.error, hidden: true });
  const away = manual && setting.kind === "secret";
  const sealed = sealing({ setting, input: input.element, onchange: changed, away });
  const element = framed(setting, ids, input, sealed.element, error);
  element.dataset.pointer = pointer;
  input.element.addEventListener("input", changed);

  function changed() { clear(); onchange(); }
  function clear() { input.element.removeAttribute("aria-invalid"); error.hidden = true; fill(error); }
  function get() {
    if (sealed.holds()) return MASK;
    if (away) return sealed.wants() ? SOME_SECRET : undefined;
    return input.get();
  }

  return {
    element, setting, pointer, get, clear,
    set(value) { sealed.load(value === MASK); input.set(value === MASK ? undefined : value); },
    check: () => (sealed.holds() ? null : (input.unread?.() ?? problemOf(setting, get()))),
    fail(messages) {
      fill(error,
        messages.map(({ message, hint }) => h("span.block", {},
          sentence(message),
          hint ? h("span.hint.block", {}, sentence(hint)) : null)));
      error.hidden = false;
      input.element.setAttribute("aria-invalid", "true");
    },
    /** Ask for a secret once more. */
    askAgain() { sealed.replace(); },
    focus() {
      for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
      (away ? sealed.told : sealed.holds() ? sealed.button : input.element).focus();
    },
  };
}

/** "Unchanged" with Replace, Keep and Remove; holds while the present value is to stay. */
function sealing({ setting, input, onchange, away }) {
  let had = false;
  let state = "typed"; // typed, kept, removed
  const button = h("button.small", { type: "button" });
  const remove = h("button.small.plain", { type: "button", onclick: () => turn("removed", true) }, "Remove");
  const told = h("span.grow.soft", { role: "status", tabIndex: -1 });
  const element = h("div.row.sealed", { hidden: true }, told, button, remove);
  button.addEventListener("click", () => turn(state === "kept" ? "typed" : "kept", true));

  function turn(next, told_ = false) {
    state = next;
    draw();
    if (!told_) return;
    input.value = "";
    (state === "typed" && !away ? input : button).focus();
    onchange();
  }
  function draw() {
    const name = setting.title;
    element.hidden = !had && !away;
    input.hidden = away || state !== "typed";
    remove.hidden = away || state !== "kept" || setting.required;
    button.hidden = away && (!had || state === "kept");
    const action = state === "kept" ? "Replace" : "Keep";
    fill(button, action);
    button.setAttribute("aria-label", action === "Keep" ? `Keep the current ${name}` : `${action} ${name}`);
    remove.setAttribute("aria-label", `Remove ${name}`);
    fill(told,
      away && state === "typed"
        ? ["Not typed here: ", h("code", {}, "agentsd edit"), " seals it."]
        : { kept: "Sealed: unchanged", removed: "Will be removed", typed: "Will be replaced" }[state]);
  }
  draw();
  return {
    element, button, told,
    holds: () => state === "kept",
    wants: () => state === "typed" && (had || setting.required),
    load(masked) { had = masked; turn(masked ? "kept" : "typed"); },
    replace() { if (state === "kept") turn("typed"); },
  };
}

function framed(setting, ids, input, sealed, error) {
  const about = h("p.help", { id: ids.help }, coded(setting.help), defaultOf(setting));
  const label = h("label", { htmlFor: ids.input },
    setting.title,
    setting.required ? h("span.needed", {}, " (needed)") : null);
  if (setting.kind === "switch") {
    return h("div.field.switch", {}, h("div.row", {}, input.element, label), sealed, about, error);
  }
  return h("div.field", { class: setting.kind }, label, sealed, input.element, about, error);
}

function defaultOf({ kind, fallback }) {
  if (fallback === undefined
    || fallback === ""
    || typeof fallback === "object"
    || ["switch", "choice"].includes(kind)) {
    return null;
  }
  return h("span.default", {}, ` Default: ${fallback}`);
}

/** `words` in backticks as code. */
export function coded(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}
