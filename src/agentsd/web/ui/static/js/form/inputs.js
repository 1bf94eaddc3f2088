// The element in which a value of each kind is typed, with how it is read and written.
//
// Each maker returns `{ element, get, set, unread? }`; `get` returns undefined for an empty input. `unread()` returns
// a message where the text is not a value of that kind.

import { isNullish } from "../data.js";
import { h } from "../dom.js";

const ROWS = { system_prompt: 9 };
const inputId = (attributes) => ({ ...attributes, autocomplete: "off", spellcheck: "false" });

const MAKERS = { text, prose, number, switch: flag, yesno, choice, lines, json, secret };

/** The input of a setting. `attributes` (id, ARIA) go onto the element that takes the focus. */
export function inputOf(setting, attributes) {
  return MAKERS[setting.kind](setting, attributes);
}

function placeholderOf({ fallback, example }) {
  if (fallback !== undefined && fallback !== "") return String(fallback);
  return isNullish(example) || example === "" || typeof example === "object" ? null : `e.g. ${example}`;
}

/**
 * The reading and writing of an element with a text.
 * @param {HTMLInputElement | HTMLTextAreaElement} element
 * @param {(text: string) => any} [read]
 * @param {(value: any) => string} [write]
 */
function plain(element, read = (text) => text, write = String) {
  let loaded; // a browser rewrites line ends and numbers: an untouched value stays as it was
  let shown = "";
  return {
    element,
    get() {
      if (element.value === shown) return loaded;
      return element.value === "" ? undefined : read(element.value);
    },
    set(value) {
      element.value = value === undefined ? "" : write(value);
      [loaded, shown] = [value, element.value];
    },
  };
}

function text(setting, attributes) {
  return plain(h("input", { type: "text", placeholder: placeholderOf(setting), ...inputId(attributes) }));
}

function prose(setting, attributes) {
  const rows = String(ROWS[setting.name] ?? 2);
  return plain(h("textarea", { rows, class: "prose", placeholder: placeholderOf(setting), ...attributes }));
}

function number(setting, attributes) {
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum, type } = setting.schema;
  const bounds = { min: minimum ?? exclusiveMinimum, max: maximum ?? exclusiveMaximum };
  const shown = Object.fromEntries(Object.entries(bounds)
    .filter(([, bound]) => bound !== undefined)
    .map(([name, bound]) => [name, String(bound)]));
  const element = h("input", {
    type: "number", step: type === "integer" ? "1" : "any", placeholder: placeholderOf(setting), ...shown,
    ...inputId(attributes),
  });
  return { ...plain(element, Number), unread: () => (element.validity.badInput ? "give a number" : null) };
}

function flag(setting, attributes) {
  const element = h("input", { type: "checkbox", ...attributes });
  let said; // a default that the manifest repeats is kept
  return {
    element,
    get: () => (element.checked === setting.fallback && said !== element.checked ? undefined : element.checked),
    set: (value) => { said = value; element.checked = value ?? setting.fallback; },
  };
}

function yesno(setting, attributes) {
  return choice({ ...setting, choices: [true, false], labels: ["yes", "no"] }, attributes);
}

function choice(setting, attributes) {
  const { choices, labels = choices.map(String), required, fallback } = setting;
  const none = fallback === undefined ? (required ? "Choose…" : "Not set") : `Default (${fallback})`;
  const element = h("select", attributes,
    h("option", { value: "" }, none),
    labels.map((label, index) => h("option", { value: String(index) }, label)));
  return {
    element,
    get: () => (element.value === "" ? undefined : choices[Number(element.value)]),
    set: (value) => {
      const index = choices.indexOf(value);
      element.value = index < 0 ? "" : String(index);
    },
  };
}

function lines(setting, attributes) {
  const placeholder = Array.isArray(setting.example) ? setting.example.join("\n") : null;
  const element = h("textarea.mono", { rows: "3", placeholder, ...inputId(attributes) });
  const read = (typed) => {
    const found = typed.split("\n").map((line) => line.trim()).filter(Boolean);
    return found.length ? found : undefined;
  };
  return plain(element, read, (value) => value.join("\n"));
}

function json(setting, attributes) {
  const example = exampleOf(setting);
  const element = h("textarea.mono.json", {
    rows: "4", placeholder: example && JSON.stringify(example, null, 1), ...inputId(attributes),
  });
  // a text that is not JSON counts as a change
  const parsed = () => {
    try { return [JSON.parse(element.value), null]; } catch (error) { return [element.value, error.message]; }
  };
  return {
    ...plain(element, () => parsed()[0], (value) => JSON.stringify(value, null, 2)),
    unread: () => {
      if (!element.value.trim()) return null;
      const [value, error] = parsed();
      if (error) return `this is not JSON: ${error}`;
      if (setting.schema.type === "array") return Array.isArray(value) ? null : "give a JSON list: [ … ]";
      const object = value !== null && typeof value === "object" && !Array.isArray(value);
      return setting.schema.type === "object" && !object ? "give a JSON object: { … }" : null;
    },
  };
}

function exampleOf({ example, itemExample }) {
  return example ?? (itemExample ? [itemExample] : undefined);
}

function secret(setting, attributes) {
  return plain(h("input", { type: "password", ...attributes, autocomplete: "new-password", spellcheck: "false" }));
}
