// The settings of a JSON Schema, in the terms of a form. Pure.

import { without } from "../data.js";

/** What a reply contains instead of a secret; sent back, it means "unchanged". */
export const MASK = "**********";

const WORDS = {
  api: "API", url: "URL", id: "ID", llm: "LLM", tts: "TTS", stt: "STT", rag: "RAG", top: "top", p: "p", k: "k",
};
const UNITS = { ms: "ms", seconds: "seconds" };
const USUAL = new Set([
  "model", "model_id", "model_path", "voice", "voice_id", "language", "language_code", "temperature", "max_tokens",
  "reply",
]);
const PROSE_MIN = 500;

/** Return the settings of an object's schema, in its order. `root` holds the `$defs`; `secrets` are names. */
export function settingsOf(schema, { root = schema, secrets = [], skip = [] } = {}) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {})
    .filter(([name]) => !skip.includes(name))
    .map(([name, node]) => setting(name, node, root, required.has(name), secrets.includes(name)));
}

/** One setting: `{ name, title, help, kind, required, fallback, example, choices, min, max, … }`. */
export function setting(name, node, root, required = false, secret = false) {
  const schema = resolved(node, root);
  const hidden = secret || schema.writeOnly === true;
  const kind = hidden ? "secret" : kindOf(schema, root);
  return {
    name, kind, required, schema,
    title: titleOf(name, schema.title),
    help: plainText(schema.description ?? ""),
    fallback: schema.default ?? undefined, // the default
    example: hidden ? undefined : schema.examples?.[0],
    choices: schema.enum,
    usual: required || hidden || USUAL.has(name),
  };
}

/** Return a node with its references resolved, and without null and the type of sealed values. */
function resolved(node, root) {
  if (node.$ref) {
    const { $ref, ...rest } = node;
    return resolved({ ...without(definition($ref, root), "title"), ...rest }, root); // that title names a class
  }
  const choices = (node.anyOf ?? []).filter((one) => one.type !== "null" && !one.$ref?.includes("/sealed-"));
  if (choices.length !== 1) return node;
  return { ...resolved(choices[0], root), ...without(node, "anyOf") };
}

function definition(ref, root) {
  const found = ref.replace("#/", "").split("/").reduce((node, step) => node?.[step], root);
  return ref.includes("/sealed-") ? { type: "string" } : (found ?? {});
}

function kindOf(schema, root) {
  if (schema.enum) return "choice";
  if (schema.type === "boolean") return typeof schema.default === "boolean" ? "switch" : "yesno";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string") return isProse(schema) ? "prose" : "text";
  if (schema.type === "array" && resolved(schema.items ?? {}, root).type === "string") return "lines";
  return "json";
}

function isProse(schema) {
  if (schema.pattern || schema.format || schema.minLength) return false;
  return (schema.maxLength ?? Infinity) >= PROSE_MIN;
}

/** `connect_timeout_seconds` → "Connect timeout (seconds)"; a written title is kept. */
function titleOf(name, given) {
  const words = name.split("_");
  const plain = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  if (given && plain(given) !== plain(name)) return given;
  const unit = words.length > 1 && UNITS[words.at(-1)] ? ` (${UNITS[words.pop()]})` : "";
  const text = words.map((word) => WORDS[word] ?? word).join(" ");
  return text[0].toUpperCase() + text.slice(1) + unit;
}

const plainText = (text) => text.replaceAll("``", "`").trim();

/** Return what is wrong with a value, or null. A first check only: the server validates. */
export function problemOf(one, value) {
  const { schema } = one;
  if (value === undefined) return one.required ? `${one.title} is needed` : null;
  if (one.kind === "number") return numberProblem(schema, value);
  if (typeof value !== "string" || value === MASK) return null;
  if (schema.minLength && value.length < schema.minLength) return `give at least ${schema.minLength} characters`;
  if (schema.maxLength && [...value].length > schema.maxLength) return `give at most ${schema.maxLength} characters`;
  return schema.pattern && !matches(schema.pattern, value) ? patternProblem(one) : null;
}

function numberProblem(schema, value) {
  if (!Number.isFinite(value)) return "give a number";
  if (schema.type === "integer" && !Number.isInteger(value)) return "give a whole number";
  const bounds = [
    [schema.minimum, (least) => value < least, "at least"],
    [schema.exclusiveMinimum, (least) => value <= least, "more than"],
    [schema.maximum, (most) => value > most, "at most"],
    [schema.exclusiveMaximum, (most) => value >= most, "less than"],
  ];
  const broken = bounds.find(([bound, isBroken]) => bound !== undefined && isBroken(bound));
  return broken ? `give ${broken[2]} ${broken[0]}` : null;
}

function patternProblem(one) {
  return one.example === undefined ? "this does not have the required format" : `write it like ${one.example}`;
}

function matches(pattern, value) {
  try { return new RegExp(pattern, "u").test(value); } catch { return true; } // another dialect: the server checks it
}
