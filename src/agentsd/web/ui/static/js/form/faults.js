// Errors at their fields: a summary above the form, a message at each field, and the focus on the first.

import { isNullish } from "../data.js";
import { fill, h } from "../dom.js";
import { notice, sentence } from "../marks.js";

const ROOM = 0.75; // of the height is neither head nor bar

/** Return the errors that the form itself finds: `[{ control, message }]`. */
export function ownFaults(controls) {
  return controls.map((control) => ({ control, message: control.check() })).filter(({ message }) => message);
}

/** Return the errors that the server found, each with its field where the form has it. */
export function faultsOf(problem, form) {
  if (problem.violations.length) {
    return problem.violations.map((one) => ({ ...one, control: form.find(pointerOf(one)), where: placeOf(one) }));
  }
  const control = problem.param ? form.find(problem.param) : null;
  const again = problem.code === "secret_needed";
  const hint = again ? "type it again" : problem.hint;
  return control
    ? [{ control, message: problem.message, hint, pointer: problem.param, again }]
    : [];
}

/** Return the pointer of a violation; of a missing key, which the server reports at its parent, the key's own. */
function pointerOf({ code, pointer, message }) {
  const missing = code === "missing-key" && /'(\w+)' is missing$/.exec(message);
  return missing ? [pointer, missing[1]].filter(Boolean).join(".") : (pointer ?? "");
}

const placeOf = ({ path, line, column }) => (path
  ? [path, line, column].filter((one) => !isNullish(one)).join(":")
  : "");

/** Remove the errors that are shown. */
export function clearFaults(place, controls) {
  fill(place);
  for (const one of controls) one.clear();
}

/** Show errors, and focus the first; without any, show the problem as a whole. */
export function showFaults(place, faults, problem = null) {
  const byControl = new Map();
  for (const one of faults) if (one.control) byControl.set(one.control, [...(byControl.get(one.control) ?? []), one]);
  for (const [control, found] of byControl) {
    if (found.some((one) => one.again)) control.askAgain();
    control.fail(found.map((one) => ({ ...one, message: own(one) })));
  }
  fill(place, faults.length ? summary(faults) : notice(problem));
  const first = faults.find((one) => one.control);
  if (first) showControl(first.control, place);
  else place.scrollIntoView({ block: "center" });
}

/** Focus a field, and have its error in sight, too: neither under the bar at the end nor under the head. */
function showControl(control, place = null) {
  control.focus();
  const [top, bottom] = [place ?? control.element, control.element].map((one) => one.getBoundingClientRect());
  const fits = bottom.bottom - top.top < innerHeight * ROOM;
  if (place && fits) place.scrollIntoView({ block: "start" });
  else control.element.scrollIntoView({ block: "nearest" });
}

/** Return a message without its pointer, since it is shown at its field. */
function own({ message, pointer, control }) {
  if (pointer && message.startsWith(`${pointer}: `)) return message.slice(pointer.length + 2);
  return pointer && message.startsWith(`${pointer} `) ? control.setting.title + message.slice(pointer.length) : message;
}

function summary(faults) {
  const title = faults.length === 1 ? "One error must be fixed:" : `${faults.length} errors must be fixed:`;
  return h("div.notice.bad", { role: "alert" }, h("p", {}, title), h("ul.faults", {}, faults.map(line)));
}

function line(fault) {
  const { control, message, hint, where } = fault;
  if (control) {
    return h("li", {},
      h("button.plain.small", { type: "button", onclick: () => showControl(control) }, control.setting.title),
      `: ${own(fault)}`);
  }
  return h("li", {},
    where ? [h("code", {}, where), ": "] : null,
    sentence(message),
    hint ? h("span.hint", {}, ` ${sentence(hint)}`) : null);
}
