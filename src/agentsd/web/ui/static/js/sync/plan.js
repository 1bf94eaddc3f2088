// The plan of a sync, for admins: read on arrival, by the button, and again while it is not empty.

import { get } from "../api.js";
import { diffBetween, wordsBetween } from "../diff.js";
import { byId, debounced, fill, h } from "../dom.js";
import { count } from "../format.js";
import { notice, sentence, when } from "../marks.js";
import { violation } from "./faults.js";
import { listed, many } from "./standing.js";

const SHOWN = 50;
const INLINE = 60; // characters of a value that is shown in one line
const CUT = 1500;
const AGAIN_MS = 800;
const VERBS = { create: "create", update: "update", rename: "rename", delete: "delete", heal: "heal" };
const TONES = { create: "good", update: "warn", rename: "warn", delete: "bad", heal: "info" };

/** Draw `#plan`. `look()` reads it; `overtaken()`: something was synced since; `know(data)`: the leader. */
export function mountPlan(session) {
  const state = { told: null, leaders: [], asked: 0, stale: false };
  const admin = session.role === "admin";
  byId("plan-section").hidden = !admin;
  const place = byId("plan");
  const button = byId("look", HTMLButtonElement);
  button.addEventListener("click", look);
  const again = debounced(look, AGAIN_MS);
  return { look, overtaken, know(data) { state.leaders = data.leaders ?? []; } };

  async function look() {
    if (!admin || document.hidden) return;
    const asked = (state.asked += 1);
    button.disabled = true;
    place.setAttribute("aria-busy", "true");
    try {
      const told = await get("/api/sync/plan");
      if (asked !== state.asked) return;
      state.told = told;
      fill(place,
        told.available
          ? planOf(told, state.leaders, session)
          : h("p.soft", {}, sentence(told.why), told.hint ? `: ${told.hint}.` : "."));
    } catch (problem) {
      if (asked === state.asked) fill(place, notice(problem, "warn"));
    } finally {
      if (asked === state.asked) { button.disabled = false; place.removeAttribute("aria-busy"); }
    }
  }

  /** Read a plan that is not empty again: it was just applied, or is about to be. */
  function overtaken() {
    const told = state.told;
    if (!told?.available) return;
    if (!told.plan.empty || told.plan.quarantined.length) again();
    else fill(place.querySelector(".as-of") ?? h("p"), "A sync has run since. As of ", when(told.at), ".");
  }
}

function planOf({ plan, guard, warnings, at, commit }, leaders, session) {
  const nothing = plan.empty && !plan.quarantined.length;
  return h("div.stack", {},
    h("p", {}, h("strong", {}, nothing ? "Nothing to do: the database matches the files." : headline(plan))),
    guard ? notice(guard, "warn") : null,
    plan.empty || guard ? null : h("p.soft", {}, whoApplies(plan, leaders)),
    plan.changes.length || plan.users.length
      ? h("ul.changes", {},
        plan.changes.slice(0, SHOWN).map((one) => change(one, session)),
        plan.users.slice(0, SHOWN).map(owner))
      : null,
    plan.changes.length > SHOWN
      ? h("p.soft", {},
        `and ${many(plan.changes.length - SHOWN, "other")}: `, h("code", {}, "agentsd plan"), " shows all")
      : null,
    setAside(plan, session),
    plan.held_back.length
      ? h("p.soft", {}, heldBack(plan.held_back))
      : null,
    plan.orphaned.length
      ? h("p.soft", {}, `Kept without a file, by prune: false: ${listed(plan.orphaned.slice(0, 10))}`)
      : null,
    warnings.length
      ? h("details", {},
        h("summary", {}, many(warnings.length, "warning")),
        h("ul.violations", {}, warnings.slice(0, SHOWN).map((one) => violation(one, session))))
      : null,
    h("p.soft.small.as-of", {},
      `Source ${plan.source}, version ${plan.version}${commit ? `, commit ${commit.slice(0, 8)}` : ""}, as of `,
      when(at), "."));
}

function headline(plan) {
  const { unchanged, quarantined, ...counts } = plan.summary;
  const parts = Object.entries(counts)
    .filter(([, number]) => number)
    .map(([name, number]) => `${count(number)} to ${VERBS[name] ?? name}`);
  if (plan.users.length && !parts.length) parts.push(`${many(plan.users.length, "owner")} to change`);
  if (quarantined) parts.push(`${count(quarantined)} set aside`);
  return `${listed(parts)}; ${count(unchanged)} unchanged.`;
}

function heldBack(slugs) {
  const stay = slugs.length === 1 ? "stays" : "stay";
  const shown = `${listed(slugs.slice(0, 5))}${slugs.length > 5 ? " …" : ""}`;
  return `${many(slugs.length, "agent")} whose files are gone ${stay} while a file is set aside: ${shown}`;
}

function whoApplies(plan, leaders) {
  const leader = leaders.find((one) => one.source === plan.source && one.leads);
  if (leader) return `The sync daemon ${leader.host}:${leader.pid} applies this by itself.`;
  return ["No daemon syncs this source: ", h("code", {}, "agentsd sync"), " applies it."];
}

function change(one, session) {
  const name = one.old_slug ? `${one.old_slug} → ${one.slug}` : one.slug;
  return h("li", {},
    h("p", {}, h("span.badge", { class: TONES[one.operation] }, VERBS[one.operation]), " ", h("strong", {}, name), " ",
    h("span.soft.mono", {}, `${session.files}/${one.path}`)),
  one.operation === "heal" ? h("p.soft", {}, "Its row was edited in the database; the file wins.") : null,
  fieldsOf(one.fields));
}

function owner(one) {
  return h("li", {},
    h("p", {},
      h("span.badge", { class: TONES[one.operation] }, VERBS[one.operation]), " owner ", h("strong", {}, one.username)),
    fieldsOf(one.fields ?? []));
}

function fieldsOf(fields) {
  return fields.length
    ? h("ul.fields", {}, fields.map((field) => h("li", {}, h("code", {}, field.field), " ", valueOf(field))))
    : null;
}

function valueOf(field) {
  if (field.secret) {
    const words = {
      add: "secret added", remove: "secret removed", change: field.secret === "changed" ? "secret changed" : "resealed",
    };
    return h("span.badge", {}, words[field.operation]);
  }
  const [old, next] = [text(field.old), text(field.new)];
  if (Math.max(old.length, next.length) > INLINE || /\n/.test(old + next)) {
    const words = field.operation === "change" && !/\n/.test(old + next) ? wordsBetween(old, next) : null;
    if (words) return h("span.words", {}, words);
    return diffBetween(field.operation === "add" ? "" : old, field.operation === "remove" ? "" : next);
  }
  if (field.operation === "add") return h("ins", {}, next);
  if (field.operation === "remove") return h("del", {}, old);
  return [h("del", {}, old), " → ", h("ins", {}, next)];
}

const text = (value) => {
  const whole = typeof value === "string" ? value : JSON.stringify(value ?? null);
  return whole === "" ? '""' : whole.length > CUT ? `${whole.slice(0, CUT)}…` : whole;
};

function setAside(plan, session) {
  if (!plan.quarantined.length) return null;
  return h("div", {}, h("h3", {}, "Set aside"), h("ul.violations", {},
    plan.quarantined.slice(0, SHOWN).flatMap((one) => one.violations.map((found) => violation(found, session)))));
}
