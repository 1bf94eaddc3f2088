// The dialog of a conflict: each field's value before, theirs and mine, and a choice for each.

import { dialog } from "../dialogs.js";
import { h, newId } from "../dom.js";
import { MASK } from "./fields.js";
import { SECTIONS } from "./patch.js";

/** `meeting`: of patch.js. Resolves with a Map unit → "mine" | "theirs", or undefined: decide later. */
export function settle(meeting, titleOf) {
  return dialog("This was also changed elsewhere", (close) => {
    const choices = meeting.map((one) => choice(one, titleOf(one.unit)));
    const all = (which) => choices.forEach((one) => one.take(which));
    const submit = (event) => {
      event.preventDefault();
      close(new Map(choices.map((one) => [one.unit, one.chosen()])));
    };
    return h("form.stack.conflict", { onsubmit: submit },
      h("p", {},
        "The other change is live. For each field, keep your value, which then replaces theirs, "
          + "or take theirs."),
      h("div.row", {},
        h("button.small", { type: "button", onclick: () => all("mine") }, "Keep all of mine"),
        h("button.small", { type: "button", onclick: () => all("theirs") }, "Take all of theirs")),
      choices.map((one) => one.element),
      h("div.row.end", {},
        h("button", { type: "button", onclick: () => close() }, "Decide later"),
        h("button.primary", { type: "submit" }, "Apply")));
  }, { wide: true });
}

function choice({ unit, before, theirs, mine }, title) {
  const name = newId("choice");
  const radio = (value, label) => {
    const id = newId("radio");
    const input = h("input", { id, type: "radio", name, value, required: true });
    return { input, element: h("div.row", {}, input, h("label", { htmlFor: id }, label)) };
  };
  const [keep, take] = [radio("mine", "Keep mine"), radio("theirs", "Take theirs")];
  const element = h("fieldset", {}, h("legend", {}, title), h("div.versions", {},
    version("Before", before), version("Theirs", theirs, take.element), version("Yours", mine, keep.element)));
  return {
    unit, element,
    take: (which) => { (which === "mine" ? keep : take).input.checked = true; },
    chosen: () => (keep.input.checked ? "mine" : "theirs"),
  };
}

function version(title, value, element = null) {
  return h("div.version", {}, h("h3", {}, title), h("pre", { tabIndex: 0, ariaLabel: title }, told(value)), element);
}

/** Return a value as a person reads it. */
function told(value) {
  if (value === undefined || (typeof value === "object" && Object.keys(value).length === 0)) return "(nothing)";
  if (value === MASK) return "(sealed)";
  return typeof value === "object" ? JSON.stringify(value, null, 2).replaceAll(`"${MASK}"`, "(sealed)") : String(value);
}

/** Return the title of a unit; a field's is its control's. */
export function nameOf(unit, form) {
  const legend = (element) => element?.querySelector(":scope > legend")?.textContent;
  if (SECTIONS.includes(unit)) {
    return legend(form.element.querySelector(`[data-section="${CSS.escape(unit)}"]`)) ?? unit;
  }
  const control = form.controls.find((one) => one.pointer === unit);
  if (!control) return unit;
  return unit.includes(".")
    ? `${legend(control.element.closest("fieldset"))}: ${control.setting.title}`
    : control.setting.title;
}
