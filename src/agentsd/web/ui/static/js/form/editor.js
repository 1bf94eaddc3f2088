// The editing of an agent: what was loaded, changes on the server meanwhile, and saving.

import { getTagged, inPath, Problem } from "../api.js";
import { toast } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { onAgents } from "../live.js";
import { sentence } from "../marks.js";
import { nameOf, settle } from "./conflict.js";
import { MASK } from "./fields.js";
import { clearFaults, faultsOf, ownFaults, showFaults } from "./faults.js";
import { agentForm } from "./form.js";
import { instructions, whyNot } from "./manual.js";
import { bodyOf, changedIn, flatten, meetings, patchOf, pick } from "./patch.js";
import { outcomeOf, preview, review } from "./review.js";

const LOOKS = 20;
const LOOK_MS = 250;

/**
 * `{ element, touched, slug, dirty, end }`. `task`: `{ kind: "new" | "copy" | "edit", view, etag, values, identity }`;
 * `values` (flat) is what the form begins with; `done(reply)` when it is saved.
 */
export function editor(catalog, session, task, done) {
  const editing = task.kind === "edit";
  const places = Object.fromEntries(["notice", "faults", "result"].map((name) => [name, h(`div.${name}-place`)]));
  const state = { base: editing ? flatten(task.view) : {}, etag: task.etag, open: [], leaving: false, busy: false };
  const why = () => whyNot(session, editing ? task.view.user : task.identity.owner());
  const status = h("span.grow.soft", { role: "status" });
  const button = h("button.primary", { type: "submit" });
  const form = agentForm(catalog, { onchange: changed, manual: why() !== null });
  const banner = h("div");
  const element = h("form.stack.edit", { noValidate: true, onsubmit: submit },
    banner, places.notice, places.faults, task.identity?.element, form.element, places.result,
    h("div.bar", {}, status, h("a.button", { href: task.back }, "Cancel"), button));

  form.set(task.values ?? state.base);
  changed();
  const deaf = editing
    ? onAgents((slugs) => { if (slugs === null || slugs.includes(task.view.slug)) follow(); })
    : () => {};
  return { element, touched: changed, slug: () => task.view.slug, dirty: () => !state.leaving && differs(), end: deaf };

  function controls() { return [...(task.identity?.controls ?? []), ...form.controls]; }
  function differs() { return changedIn(editing ? state.base : (task.values ?? {}), form.get()).length > 0; }

  function changed() {
    const reason = why();
    fill(banner, reason && h("p.notice", {}, reason));
    fill(button, reason ? "Show the steps" : "Review and save");
    const found = editing ? changedIn(state.base, form.get()).length : 0;
    fill(status, editing ? (found ? `${found} ${found === 1 ? "field" : "fields"} changed` : "Nothing changed") : "");
    fill(places.result);
    form.told();
  }

  async function submit(event) {
    event?.preventDefault();
    if (state.busy) return;
    state.busy = true;
    try { await attempt(); } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      showFaults(places.faults, [], problem);
    } finally { state.busy = false; }
  }

  async function attempt(note = null) {
    clearFaults(places.faults, controls());
    const faults = [...ownFaults(controls()), ...(editing ? [] : form.lacking(task.identity.get().slug))];
    if (faults.length) return showFaults(places.faults, faults);
    if (state.open.length && !(await decide())) return undefined;
    const write = planned();
    if (editing && Object.keys(write.body).length === 0) return toast("Nothing has changed.");
    try {
      if (why()) return await prepared(write);
      const shown = await preview(write);
      const result = await review(write, shown, note);
      return result?.reply ? saved(result.reply) : result?.problem && (await refused(result.problem, write.etag));
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      return refused(problem, write.etag);
    }
  }

  function planned() {
    const draft = form.get();
    if (!editing) return { method: "POST", path: "/api/agents", body: { ...task.identity.get(), ...bodyOf(draft) } };
    return {
      method: "PATCH", path: `/api/agents/${inPath(task.view.slug)}`, body: patchOf(state.base, draft),
      etag: state.etag,
    };
  }

  async function prepared(write) {
    const slug = editing ? task.view.slug : task.identity.get().slug;
    const steps = await instructions(write, { slug, files: session.files });
    const section = h("section.card", { tabIndex: -1 }, steps);
    fill(places.result, section);
    section.focus();
  }

  function saved(reply) {
    state.leaving = true;
    deaf();
    done(reply, outcomeOf(reply));
  }

  async function refused(problem, before) {
    if (problem.code === "overtaken") throw problem;
    if (problem.status === 412 && editing) return overtaken(before);
    const find = (pointer) => controls().find((one) => one.pointer === pointer) ?? form.find(pointer);
    return showFaults(places.faults, faultsOf(problem, { find }), problem);
  }

  /** Follow a file that is newer than this form, then try again. The server may need a moment to read it. */
  async function overtaken(before) {
    for (let looks = 0; looks < LOOKS && state.etag === before; looks += 1) {
      await follow();
      if (state.etag === before) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    if (state.etag === before) {
      throw new Problem(412, {
        code: "overtaken", detail: "the file was changed, and this server has not loaded the change yet",
        hint: "it may be invalid: see the page Sync. Your input is still here",
      });
    }
    return attempt("The file was changed meanwhile. This is your change on top of the newer file.");
  }

  /** Update the fields that were not touched here with the changes on the server. */
  async function follow() {
    if (state.leaving) return;
    let found;
    try { found = await getTagged(`/api/agents/${inPath(task.view.id)}`); } catch (problem) {
      if (problem.status === 404) {
        fill(places.notice,
          h("p.notice.bad", { role: "alert" },
            "This agent was deleted or renamed. Your input is still here, and can be copied."));
      }
      return;
    }
    if (found.data.digest === task.view.digest) { task.view = found.data; return; }
    const [theirs, draft] = [flatten(found.data), form.get()];
    const { quiet, meeting } = meetings(state.base, theirs, draft);
    for (const unit of quiet) form.put(unit, pick(theirs, unit));
    const mine = form.get();
    const isUndecided = ({ unit }) => changedIn({ unit: pick(theirs, unit) }, { unit: pick(mine, unit) }).length > 0;
    const kept = state.open.filter((one) => !meeting.some(({ unit }) => unit === one.unit) && isUndecided(one));
    const open = [...kept.map((one) => ({ ...one, theirs: pick(theirs, one.unit) })), ...meeting];
    Object.assign(state, { base: theirs, etag: found.etag, open });
    task.view = found.data;
    changed();
    tell(quiet, found.data.version);
  }

  function tell(quiet, version) {
    const names = (units) => units.map((unit) => nameOf(unit, form)).join(", ");
    const parts = [`The file was changed: this is now version ${version}.`];
    if (quiet.length) parts.push(`Updated here: ${names(quiet)}.`);
    if (state.open.length) parts.push(`Changed here and elsewhere: ${names(state.open.map((one) => one.unit))}.`);
    fill(places.notice, h("div.notice", { class: state.open.length ? "warn" : "", role: "alert" },
      h("p", {}, sentence(parts.join(" "))),
      h("div.row", {}, state.open.length
        ? h("button.small", { type: "button", onclick: decide }, "Decide")
        : h("button.small", { type: "button", onclick: () => fill(places.notice) }, "OK"))));
  }

  /** Ask for a choice at each field that both changed; returns whether all are settled. */
  async function decide() {
    const draft = withoutTyped(form.get(), form.controls);
    const asked = state.open.map((one) => ({ ...one, mine: pick(draft, one.unit) }));
    const choices = await settle(asked, (unit) => nameOf(unit, form));
    if (!choices) return false;
    for (const one of asked) if (choices.get(one.unit) === "theirs") form.put(one.unit, one.theirs);
    state.open = [];
    fill(places.notice);
    changed();
    return true;
  }
}

/** Return a draft without the secrets that were typed. */
function withoutTyped(draft, fields) {
  const secrets = new Set(fields.filter(({ setting }) => setting.kind === "secret").map(({ pointer }) => pointer));
  const lists = new Map(fields.filter((one) => one.shown).map((one) => [one.pointer, one]));
  const shown = ([pointer, value]) => [
    pointer, lists.get(pointer)?.shown() ?? (secrets.has(pointer) && value !== MASK ? "(typed)" : value),
  ];
  return Object.fromEntries(Object.entries(draft).map(shown));
}
