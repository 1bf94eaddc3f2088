// An agent as flat values, the changes to them, and the conflicts of two changes. Pure.
//
// Flat: `{ "name": …, "llm_provider_config.model": …, "checks": […] }`; what is empty is left out.

import { isNullish } from "../data.js";
import { MASK } from "./fields.js";

export const SECTIONS = [
  "llm_provider_config", "tts_provider_config", "stt_provider_config", "embedding_provider_config",
];
const GROUPS = [...SECTIONS, "rag_config", "turn", "on_error", "variables"];
const LISTS = ["checks", "handoff", "overrides"];
const TEXTS = ["name", "description", "system_prompt", "system_prompt_file", "greeting", "language"];
const FLAGS = ["is_default", "is_active"];
const WORDS = { is_default: "default", is_active: "active", rag_config: "rag" };

/** Return the manifest's name for a field of the API. */
export const manifestName = (field) => WORDS[field] ?? field.replace(/_provider_config$/, "");
const API_NAMES = Object.fromEntries([...SECTIONS, ...Object.keys(WORDS)].map((one) => [manifestName(one), one]));

/** `llm.fallback[0].model` → `llm_provider_config.fallback[0].model`; the API's own words stay. */
export function apiPointer(pointer) {
  const [first] = pointer.split(/[.[]/, 1);
  return (API_NAMES[first] ?? first) + pointer.slice(first.length);
}

const isEmpty = (value) => isNullish(value) || value === "" || (Array.isArray(value) && value.length === 0);

/** Return whether two values are equal. */
const same = (one, other) => canonical(one) === canonical(other);

function canonical(value) {
  return JSON.stringify(value, (_, item) => (item && typeof item === "object" && !Array.isArray(item)
    ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item));
}

/** Return the reply of GET /api/agents/{agent} as flat values. */
export function flatten(view) {
  const flat = {};
  for (const name of [...TEXTS, ...FLAGS, ...LISTS]) if (!isEmpty(view[name])) flat[name] = view[name];
  for (const group of GROUPS) {
    for (const [name, value] of Object.entries(view[group] ?? {})) {
      if (!isEmpty(value)) flat[`${group}.${name}`] = value;
    }
  }
  return flat;
}

/** Return the values that a copy begins with: without secrets, and not its owner's default. */
export function forCopy(flat) {
  const kept = Object.entries(flat)
    .map(([pointer, value]) => [pointer, withoutMasks(value)])
    .filter(([, value]) => !isEmpty(value));
  return { ...Object.fromEntries(kept), is_default: false };
}

function withoutMasks(value) {
  if (value === MASK) return undefined;
  if (Array.isArray(value)) return value.map(withoutMasks).filter((one) => one !== undefined);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value)
    .map(([name, item]) => [name, withoutMasks(item)])
    .filter(([, item]) => item !== undefined));
}

/** Return the members of one group, by their own names. */
export function groupOf(flat, group) {
  const inside = Object.entries(flat).filter(([pointer]) => pointer.startsWith(`${group}.`));
  return Object.fromEntries(inside.map(([pointer, value]) => [pointer.slice(group.length + 1), value]));
}

/** Return the body of a POST: every value that is set. */
export function bodyOf(draft) {
  const body = {};
  for (const [pointer, value] of Object.entries(draft)) if (!pointer.includes(".")) body[pointer] = value;
  for (const group of GROUPS) {
    const members = groupOf(draft, group);
    if (Object.keys(members).length) body[group] = members;
  }
  if (body.is_default === false) delete body.is_default;
  if (body.is_active === true) delete body.is_active;
  return body;
}

/** Return the smallest merge patch from `base` to `draft`; null removes. Empty: nothing changed. */
export function patchOf(base, draft) {
  const patch = {};
  for (const pointer of changedIn(base, draft)) if (!pointer.includes(".")) patch[pointer] = draft[pointer] ?? null;
  for (const group of GROUPS) {
    const [old, wanted] = [groupOf(base, group), groupOf(draft, group)];
    const changed = changedIn(old, wanted);
    if (changed.length) patch[group] = groupPatch(old, wanted, changed);
  }
  return patch;
}

function groupPatch(old, wanted, changed) {
  if (Object.keys(wanted).length === 0) return null;
  if (old.provider === wanted.provider) {
    return Object.fromEntries(changed.map((name) => [name, mergePatch(old[name], wanted[name])]));
  }
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== MASK)); // not for a new vendor
}

/** Return the merge patch (RFC 7396) from one value to another: what an object lost is null. */
function mergePatch(old, wanted) {
  if (!isObject(old) || !isObject(wanted)) return wanted ?? null;
  return Object.fromEntries(changedIn(old, wanted).map((name) => [name, mergePatch(old[name], wanted[name])]));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Return the pointers at which two flat values differ. */
export function changedIn(base, other) {
  const pointers = new Set([...Object.keys(base), ...Object.keys(other)]);
  return [...pointers].filter((pointer) => !same(base[pointer], other[pointer]));
}

/**
 * Compare a draft with `theirs`, another change of `base`: returns `{ quiet, meeting }`, each of units. A unit
 * is a field, or a whole section where its vendor is not the same everywhere. Quiet ones take what is theirs.
 */
export function meetings(base, theirs, draft) {
  const quiet = [];
  const meeting = [];
  for (const unit of unitsOf(base, theirs, draft)) {
    const [old, new_, mine] = [base, theirs, draft].map((flat) => pick(flat, unit));
    if (same(old, new_)) continue;
    if (same(old, mine)) quiet.push(unit);
    else if (!same(new_, mine)) meeting.push({ unit, before: old, theirs: new_, mine });
  }
  return { quiet, meeting };
}

function unitsOf(...flats) {
  const whole = SECTIONS.filter((section) => new Set(flats.map((flat) => flat[`${section}.provider`])).size > 1);
  const pointers = new Set(flats.flatMap(Object.keys));
  return [...whole, ...[...pointers].filter((pointer) => !whole.some((section) => pointer.startsWith(`${section}.`)))];
}

/** Return the value of a unit: a field's, or a section's members. */
export function pick(flat, unit) {
  return SECTIONS.includes(unit) ? groupOf(flat, unit) : flat[unit];
}

/** Return a patch or a body with the names of a manifest. */
export function inManifest(body) {
  const said = Object.entries(body).filter(([name]) => !["slug", "user"].includes(name));
  return Object.fromEntries(said.map(([name, value]) => [manifestName(name), value]));
}
