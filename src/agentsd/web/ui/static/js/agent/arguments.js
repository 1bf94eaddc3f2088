// The arguments of a tool: one input per parameter, or one JSON text where the parameters are not known.

import { isNullish } from "../data.js";
import { fill, h, newId } from "../dom.js";

const TYPED = new Set(["string", "number", "integer", "boolean"]);

/** `parameters`: JSON Schema by name, or null; `variables`: those of the manifest, by name. */
export class ArgumentForm {
  /**
   * @param {Record<string, any> | null} parameters
   * @param {Record<string, any>} variables
   */
  constructor(parameters, variables) {
    const known = Object.entries(parameters ?? {}).map(([name, schema]) => new Argument(name, schema ?? {}));
    this.whole = parameters === null ? new Argument("Arguments", { type: "object", default: {} }) : null;
    this.known = known;
    this.variables = Object.keys(variables).length
      ? new Argument("Variables", { type: "object", description: "Values of the agent's variables, as JSON." })
      : null;
    this.element = h("div.stack", {},
      [...known, this.whole, this.variables].filter((one) => one !== null).map((one) => one.element));
  }

  /** Return the body of the request; null where a text is not JSON, which is marked and gets the focus. */
  read() {
    const all = [...this.known, this.whole, this.variables].filter((one) => one !== null);
    const wrong = all.filter((one) => !one.check());
    if (wrong.length) {
      wrong[0].input.focus();
      return null;
    }
    const given = this.whole
      ? this.whole.value ?? {}
      : Object.fromEntries(this.known.filter((one) => one.value !== undefined).map((one) => [one.name, one.value]));
    const variables = this.variables?.value;
    return variables === undefined ? { arguments: given } : { arguments: given, variables };
  }
}

/** One input. The server checks its value by the tool's schema; only what cannot be sent is refused here. */
class Argument {
  constructor(name, schema) {
    this.name = name;
    this.schema = schema;
    this.plain = TYPED.has(schema.type) || (schema.type === undefined && Array.isArray(schema.enum));
    this.error = h("p.error.small", { id: newId("error"), role: "alert" });
    const id = newId("argument");
    const hint = h("span.small.soft", { id: newId("hint") }, hintOf(schema, this.plain));
    this.input = inputOf(schema, this.plain, { id, ariaDescribedby: `${hint.id} ${this.error.id}` });
    const first = schema.default ?? schema.examples?.[0];
    if (!isNullish(first)) this.input.value = this.plain ? String(first) : JSON.stringify(first, null, 2);
    this.element = h("div.field", {}, h("label", { htmlFor: id }, name), this.input, hint, this.error);
  }

  /** The value as it is sent; undefined where nothing was typed. */
  get value() {
    const text = this.input.value;
    if (text === "") return undefined;
    if (!this.plain) return JSON.parse(text);
    const { type, enum: choices } = this.schema;
    if (Array.isArray(choices)) return choices.find((one) => String(one) === text);
    if (type === "boolean") return text === "true";
    return type === "string" || text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
  }

  /** Return whether the text can be sent, and mark it where it cannot. */
  check() {
    const wrong = faultOf(this.plain ? "" : this.input.value, this.schema.type);
    fill(this.error, wrong);
    if (wrong) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
    return !wrong;
  }
}

function faultOf(text, type) {
  if (text === "") return "";
  try {
    const value = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return type === "object" && !isObject ? "This is not a JSON object: { … }." : "";
  } catch {
    return "This is not JSON.";
  }
}

function hintOf(schema, plain) {
  const { type, description = "", default: fallback } = schema;
  const kind = plain ? type ?? "" : "JSON";
  const needed = fallback === undefined ? "" : `default ${JSON.stringify(fallback)}`;
  return [[kind, needed].filter(Boolean).join(", "), description].filter(Boolean).join(". ");
}

function inputOf({ type, enum: choices }, plain, attributes) {
  const own = { ...attributes, autocomplete: "off", spellcheck: "false" };
  if (!plain) return h("textarea.mono", { rows: "3", ...own });
  const listed = Array.isArray(choices) ? choices.map(String) : type === "boolean" ? ["true", "false"] : null;
  if (listed) return h("select", attributes, ["", ...listed].map((one) => h("option", { value: one }, one)));
  return h("input", { type: "text", inputmode: type === "string" ? "text" : "decimal", ...own });
}
