// The whole form of an agent: the schema's settings, in the order that people expect.

import { h } from "../dom.js";
import { setting, settingsOf } from "./fields.js";
import { apiPointer, groupOf, manifestName, SECTIONS } from "./patch.js";
import { defined, group, section } from "./sections.js";

const LEFT_OUT = [
  "id", "prune", "sops", "turn", "on_error", "variables", "overrides", "handoff", "rag", "checks",
  ...SECTIONS.map(manifestName),
];
const LISTED = { checks: ["say", "contains"], handoff: ["to", "when", "say", "carry"] };
const FOLDED = ["system_prompt_file"];
const ORDER = ["name", "description", "language", "default", "active", "system_prompt", "greeting"];
const TITLES = { default: "Default", active: "Active", system_prompt_file: "System prompt from a file" };

/**
 * `{ element, get, set, put, find, controls }`: values are flat (see patch.js). `schema`: of /api/schema; `providers`:
 * of /api/providers. `where`: `{ onchange, manual }`.
 */
export function agentForm({ schema, providers }, where) {
  const general = group(generalSettings(schema), "", where);
  const sections = SECTIONS.map((name) => section(name, sectionOf(name, schema, providers), where));
  const rag = group(optional(settingsOf(defOf(schema, "rag"), { root: schema })), "rag_config", where);
  const turns = settingsOf(defOf(schema, "turn"), { root: schema });
  const turn = group(turns.map((one) => ({ ...one, usual: false })), "turn", where);
  const onError = group(optional(settingsOf(defOf(schema, "on_error"), { root: schema })), "on_error", where);
  const variables = mapping("variables", schema, where);
  const others = group([
    setting("overrides", schema.properties.overrides, schema),
    listOf("handoff", schema, "Hand-off, as a JSON list"),
  ], "", where);
  const checks = group([listOf("checks", schema, "Checks, as a JSON list")], "", where);
  const named = { rag_config: rag, turn, on_error: onError, variables };
  const flat = [general, others, checks];
  const [llm, tts, stt, embedding] = sections.map((one) => one.element);

  const all = () => [
    ...general.controls, ...sections.flatMap((one) => one.controls), ...rag.controls, ...turn.controls,
    ...onError.controls, ...variables.controls, ...others.controls, ...checks.controls,
  ];
  return {
    element: h("div.stack", {},
      card("General", null, general.elements), llm, tts, stt,
      card("Knowledge", schema.properties.rag?.description, rag.elements), embedding,
      card("Turn-taking", schema.properties.turn?.description, folded(turn)),
      card("After a failure", schema.properties.on_error?.description, onError.elements),
      card("Variables and hand-off", null, [...variables.elements, ...others.elements]),
      card("Checks", null, checks.elements)),
    get controls() { return all(); },
    get() {
      const found = Object.assign({}, ...flat.map((one) => one.get()));
      for (const one of sections) Object.assign(found, under(one.name, one.get()));
      for (const [name, one] of Object.entries(named)) Object.assign(found, under(name, one.get()));
      return defined(found);
    },
    set(values) {
      for (const one of flat) one.set(values);
      for (const one of sections) one.set(groupOf(values, one.name));
      for (const [name, one] of Object.entries(named)) one.set(groupOf(values, name));
    },
    /** One unit of patch.js: a field, or a whole section. */
    put(unit, value) {
      const [first, ...rest] = unit.split(".");
      if (first === "variables") return variables.set(defined({ ...variables.get(), [rest.join(".")]: value }));
      const whole = sections.find((one) => one.name === first);
      if (whole) return rest.length ? whole.put(rest.join("."), value) : whole.set(value);
      return all().find((one) => one.pointer === unit)?.set(value);
    },
    find: (pointer) => nearest(all(), pointer),
    /** What a new agent lacks: a name of any kind, and a provider, without which there is nothing that it could do. */
    lacking(slug) {
      const name = general.controls.find((one) => one.pointer === "name");
      const [provider] = sections[0].controls;
      const faults = [];
      if (!slug && !name.get()?.trim()) faults.push({ control: name, message: "give it a name" });
      if (sections.every((one) => one.get().provider === undefined)) {
        faults.push({ control: provider, message: "choose a provider, here or for another section" });
      }
      return faults;
    },
    told() { for (const one of [general, ...sections, rag, turn]) one.told(); },
  };
}

/** Return the control of a pointer of the server: its own, or its parent's. */
function nearest(controls, pointer) {
  for (let at = apiPointer(pointer); at; at = at.replace(/(\.[^.[\]]+|\[\d+\]|^[^.[\]]+)$/, "")) {
    const pointers = [at, `${at}.provider`, `${at}.sources`];
    const found = controls.find((one) => pointers.includes(one.pointer));
    if (found) return found;
  }
  return null;
}

function generalSettings(schema) {
  const found = settingsOf(schema, { skip: LEFT_OUT }).map((one) => ({
    ...one, usual: !FOLDED.includes(one.name), title: TITLES[one.name] ?? one.title, manifest: one.name,
    name: apiPointer(one.name),
  }));
  const place = ({ manifest }) => (ORDER.includes(manifest) ? ORDER.indexOf(manifest) : ORDER.length);
  return found.sort((one, other) => place(one) - place(other));
}

/** Return the setting of a list of objects, typed as JSON. */
function listOf(name, schema, title) {
  const members = Object.entries(defOf(schema, name).properties ?? {});
  const examples = members.filter(([one]) => LISTED[name].includes(one));
  const itemExample = Object.fromEntries(examples.map(([one, node]) => [one, node.examples?.[0]]));
  return { ...setting(name, schema.properties[name], schema), title, itemExample };
}

/** Return a group of one control: an object of any names, typed as JSON. */
function mapping(name, schema, where) {
  const one = { ...setting(name, schema.properties[name], schema), title: "Variables, as a JSON object" };
  const inner = group([one], "", where);
  return Object.assign(inner, {
    get() {
      const typed = inner.own[0].get();
      return typed !== null && typeof typed === "object" ? typed : {};
    },
    set: (values) => inner.own[0].set(Object.keys(values).length ? values : undefined),
  });
}

function sectionOf(name, schema, providers) {
  const manifest = manifestName(name);
  const node = schema.properties[manifest] ?? {};
  const title = (node.description ?? manifest).split(":")[0];
  return { title, schema: node, root: schema, vendors: providers[manifest] ?? {} };
}

function defOf(schema, name) {
  const node = schema.properties[name] ?? {};
  const ref = node.$ref ?? node.items?.$ref ?? "";
  return schema.$defs?.[ref.split("/").at(-1)] ?? node;
}

const optional = (settings) => settings.map((one) => ({ ...one, required: false, usual: true }));
const under = (name, values) => Object.fromEntries(Object.entries(values)
  .map(([key, value]) => [`${name}.${key}`, value]));

/** Return settings that are folded away until the reader, or an error, opens them. */
function folded(one) {
  return h("details.more", {}, h("summary", {}, `Settings (${one.controls.length})`), one.elements);
}

function card(title, help, elements) {
  return h("fieldset.card", {}, h("legend", {}, title), help ? h("p.help", {}, help) : null, elements);
}
