// Manifests that were set aside, by file, and agents of this replica that are not ready.

import { inPath } from "../api.js";
import { byId, fill, h } from "../dom.js";
import { conditionBadge, sentence, when } from "../marks.js";
import { placeOf } from "../refused.js";
import { many, onChange } from "./standing.js";

const SHOWN = 100;

/** Draws `#faults`. */
export function mountFaults(session) {
  const draw = onChange(({ conditions, problems, violations }) => fill(byId("faults"),
    nothing(conditions, problems),
    conditions === null ? h("p.soft", {}, "The files set aside are unknown until Postgres is back.") : null,
    conditions?.length ? [h("h3", {}, "Manifests"), files(conditions, violations, session), more(conditions)] : null,
    problems.length
      ? [h("h3", {}, "Agents of this replica"), h("ul.faults", {}, problems.slice(0, SHOWN).map(agent)), more(problems)]
      : null));
  return ({ data }) => draw({ conditions: data.conditions, problems: data.problems, violations: found(data) });
}

function nothing(conditions, problems) {
  if (conditions === null || conditions.length || problems.length) return null;
  return h("p.soft", {}, "Nothing: all manifests are valid, and all agents of this replica are ready.");
}

/** Return the errors of the last complete run of each source, by source and file. */
function found(data) {
  const seen = new Set();
  const told = {};
  for (const run of data.runs ?? []) {
    if (seen.has(run.source) || !["applied", "unchanged"].includes(run.outcome)) continue;
    seen.add(run.source);
    for (const error of run.errors) if (error.path) (told[`${run.source} ${error.path}`] ??= []).push(error);
  }
  return told;
}

function files(conditions, violations, session) {
  const several = new Set(conditions.map((one) => one.source)).size > 1;
  return h("ul.faults", {}, conditions.slice(0, SHOWN).map((one) => h("li", { dataset: { path: one.path } },
    h("p.fault-head", {},
      h("strong.mono", {}, `${session.files}/${one.path}`), " ", conditionBadge(one),
      several ? ` of ${one.source}` : "", " ", since(one)),
    one.type === "Invalid"
      ? h("ul.violations", {}, violationsOf(one, violations).map((v) => violation(v, session)))
      : h("p", {}, slug(one.slug), `: ${one.message}`))));
}

const since = (one) => (one.since ? h("span.soft.small", {}, when(one.since)) : null);

function violationsOf(condition, violations) {
  const whole = violations[`${condition.source} ${condition.path}`];
  if (whole) return whole;
  return [{ ...placeOf(condition), code: condition.reason }];
}

/** Return one violation: where, what, and what to do. The plan also shows them. */
export function violation(one, session) {
  const place = [`${session.files}/${one.path}`, one.line, one.column].filter(Boolean).join(":");
  return h("li.violation", {},
    h("code.place", {}, place), " ", h("span", {}, one.message), " ",
    one.code ? h("span.soft.small", {}, `[${one.code}]`) : null,
    one.hint ? h("p.hint", {}, sentence(one.hint)) : null);
}

function agent(one) {
  return h("li", {}, h("p.fault-head", {}, slug(one.slug), " ", conditionBadge(one), " ", since(one)),
    h("p", {}, sentence(one.message || one.reason)));
}

const slug = (name) => h("a", { href: `/ui/agent?agent=${inPath(name)}` }, name);

function more(items) {
  return items.length > SHOWN ? h("p.soft", {}, `and ${many(items.length - SHOWN, "other")}`) : null;
}
