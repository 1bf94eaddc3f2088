// The changes from one revision to the next, field by field, without secrets.

import { diff, wordsBetween } from "../diff.js";
import { h } from "../dom.js";

const WORDS = { add: "added", change: "changed", remove: "removed" };

/** Return the `changes` of a revision as elements. */
export function changesOf(found) {
  if (found === null) return h("p.soft.small", {}, "The first revision.");
  if (!found.length) return h("p.soft.small", {}, "No field differs.");
  return h("div.changes", {}, found.map(one));
}

function one(change) {
  const name = h("span.field-name", {}, change.field);
  if (change.lines) return h("div", {}, name, " ", WORDS[change.operation], diff(change.lines.join("\n")));
  if (change.secret) {
    return h("div", {},
      name, ": ", change.secret === "resealed" ? "the same secret, resealed" : "the secret changed");
  }
  const words = isLong(change.old) && isLong(change.new) ? wordsBetween(change.old, change.new) : null;
  if (words) return h("div", {}, name, ": ", h("span.words", {}, words));
  const before = change.operation === "add"
    ? null
    : h("del", {}, h("span.visually-hidden", {}, "was "), text(change.old));
  const after = change.operation === "remove"
    ? null
    : h("ins", {}, h("span.visually-hidden", {}, "now "), text(change.new));
  return h("div", {},
    name, ": ", before, before && after ? " → " : null, after, before && after ? null : ` ${WORDS[change.operation]}`);
}

const LONG = 40; // characters, from which it is of interest which words changed
const isLong = (value) => typeof value === "string" && value.length >= LONG;

const text = (value) => (typeof value === "string" ? value || "\"\"" : JSON.stringify(value));
