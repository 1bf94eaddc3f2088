// Groups of fields: an object's, and a section's, whose fields follow its vendor.

import { fill, h, newId } from "../dom.js";
import { coded, control } from "./controls.js";
import { fallbackList } from "./fallbacks.js";
import { MASK, setting, settingsOf } from "./fields.js";

const SHOWN_WITHOUT_FOLD = 8;
const TYPED = "(typed)"; // instead of a secret that was typed

/**
 * The fields of an object at `group` ("" for the agent's own). `{ elements, own, controls, get, set }`; `controls`: its
 * own, and those within them.
 */
export function group(settings, at, where) {
  const controls = settings.map((one) => {
    const place = { ...where, pointer: at ? `${at}.${one.name}` : one.name };
    return one.make ? one.make(place) : control(one, place);
  });
  const fold = settings.some((one) => !one.usual)
    && (settings.length > SHOWN_WITHOUT_FOLD || settings.some((one) => one.usual));
  const usual = controls.filter((one) => one.setting.usual || !fold);
  const rest = controls.filter((one) => !usual.includes(one));
  const label = h("summary");
  const elements = [
    h("div.fields", {}, usual.map((one) => one.element)),
    rest.length ? h("details.more", {}, label, h("div.fields", {}, rest.map((one) => one.element))) : null,
  ];
  const told = () => {
    const used = rest.filter((one) => one.get() !== undefined).length;
    fill(label, "More settings", h("span.soft", {}, used ? ` (${rest.length}, ${used} set)` : ` (${rest.length})`));
  };
  told();
  return {
    elements, own: controls, told,
    get controls() { return controls.flatMap((one) => [one, ...(one.inner ?? [])]); },
    get: () => defined(Object.fromEntries(controls.map((one) => [one.setting.name, one.get()]))),
    set(values) { for (const one of controls) one.set(values[one.setting.name]); told(); },
  };
}

export const defined = (values) => Object.fromEntries(Object.entries(values)
  .filter(([, value]) => value !== undefined));

/**
 * A section that names a provider. What its vendor's form does not show (an unknown vendor, a field of
 * another version) is kept as it is. `{ element, controls, get, set }`
 */
export function section(name, { title, schema, root, vendors }, where, at = name) {
  const provider = vendorChoice(at, schema, vendors, where);
  const place = h("div.stack");
  const known = new Map(); // the fields of each vendor that was chosen: choosing it again restores what was typed
  let loaded = {};
  let fields = null;

  function show() {
    const vendor = provider.get();
    if (vendor !== undefined && !known.has(vendor)) {
      known.set(vendor, made(name, at, vendor, vendors[vendor], { schema, root, vendors }, where));
    }
    fields = vendor === undefined ? null : known.get(vendor);
    fill(place, fields?.about, fields?.elements);
  }

  function others() {
    if (provider.get() !== loaded.provider) return {};
    const shown = new Set(["provider", ...(fields?.own.map((one) => one.setting.name) ?? [])]);
    return Object.fromEntries(Object.entries(loaded).filter(([key]) => !shown.has(key)));
  }

  provider.onturn(() => show());
  const nested = at !== name;
  const element = nested
    ? h("div.stack", {}, provider.element, place)
    : h("fieldset.card", {}, h("legend", {}, title), provider.element, place);
  if (!nested) element.dataset.section = name;
  return {
    element, name,
    get controls() { return [provider, ...(fields?.controls ?? [])]; },
    get: () => defined({ ...others(), provider: provider.get(), ...fields?.get() }),
    /** The values without the secrets that were typed. */
    shown() {
      const secrets = (fields?.own ?? []).filter((one) => one.setting.kind === "secret");
      const typed = secrets.filter((one) => one.get() !== undefined && one.get() !== MASK);
      return { ...this.get(), ...Object.fromEntries(typed.map((one) => [one.setting.name, TYPED])) };
    },
    set(values) {
      loaded = values;
      known.clear();
      provider.set(values.provider);
      show();
      fields?.set(values);
    },
    /** Set one member; the others stay as they are being edited. */
    put(key, value) {
      loaded = defined({ ...loaded, [key]: value });
      fields?.own.find((one) => one.setting.name === key)?.set(value);
    },
    told: () => fields?.told(),
  };
}

function vendorChoice(name, schema, vendors, where) {
  const choices = Object.keys(vendors).sort();
  const one = {
    ...setting("provider", { description: schema.properties?.provider?.description ?? "", enum: choices }, schema),
    title: "Provider",
  };
  const turns = [];
  const made_ = control(one, {
    ...where, pointer: `${name}.provider`, onchange: () => { turns.forEach((work) => work()); where.onchange(); },
  });
  const select = made_.element.querySelector("select");
  select.options[0].textContent = "None";
  const set = (value) => {
    if (value !== undefined && !choices.includes(value)) { // a vendor of a plugin that is not here
      choices.push(value);
      select.append(h("option", { value: String(choices.length - 1) }, `${value} (unknown here)`));
    }
    made_.set(value);
  };
  return { ...made_, set, onturn: (work) => turns.push(work) };
}

function made(name, at, vendor, described, known, where) {
  if (!described) {
    return Object.assign(group([], at, where), {
      about: h("p.help", {}, "The vendor is unknown to this server: its settings are kept unchanged."),
    });
  }
  const settings = settingsOf(described.schema, { secrets: described.secrets, skip: ["provider", "fallback"] });
  const ordered = [...settings.filter((one) => one.required), ...settings.filter((one) => !one.required)];
  const about = described.schema.description ?? "";
  const fields = group(at === name ? [...ordered, fallbackOf(name, known)] : ordered, at, where);
  fields.set({});
  return Object.assign(fields, {
    about: about.startsWith("Settings of")
      ? null
      : h("p.help", { id: newId("about") }, coded(about.replaceAll("``", "`"))),
  });
}

/** Return the setting of the fallbacks: a list of sections like this one. */
function fallbackOf(name, known) {
  const node = known.root.$defs?.[`${name.replace("_provider_config", "")}-fallback`] ?? { type: "array" };
  const about = node.description ?? "";
  const one = {
    ...setting("fallback", { type: "array", description: about }, known.root), title: "Fallbacks", usual: false,
    kind: "sections",
    help: `${about} Asked in this order. Where one is removed, the keys of those after it are asked for again.`,
  };
  return {
    ...one,
    make: (where) => fallbackList(one, { ...where, entryOf: (at) => section(name, known, where, at) }),
  };
}
