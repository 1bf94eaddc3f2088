// The dialog that makes a token: a form, then the token, once.

import { Problem, request, send } from "./api.js";
import { dialog } from "./dialogs.js";
import { fill, h, newId } from "./dom.js";
import { short } from "./format.js";
import { copyable, notice, sentence } from "./marks.js";
import { canHash, hashOf, newToken } from "./token.js";

const DAY_MS = 24 * 3600 * 1000;
const TOP = "default";
const NAME = "[A-Za-z0-9]([A-Za-z0-9._@\\-]{0,98}[A-Za-z0-9])?";
const ROLES = [
  ["viewer", "reads its owner's agents and talks to them"],
  ["editor", "writes them, too"],
  ["admin", "reads and writes all owners' agents, and makes tokens; top level only"],
];
const ENDS = [
  ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"], ["day", "after a day of your choice"],
  ["", "never"],
];

/** Return the last valid day, in UTC, of a token for so many days. */
const dayIn = (days, now = Date.now()) => new Date(now + days * DAY_MS).toISOString().slice(0, 10);

/**
 * Return the command that does the same where the files are.
 * @param {string} verb
 * @param {string} owner
 * @param {string} name
 * @param {{ role?: string, expires?: string | null }} [options]
 */
export function command(verb, owner, name, { role, expires } = {}) {
  const words = ["agentsd token", verb, name];
  if (owner !== TOP) words.push("--owner", owner);
  if (role) words.push("--role", role);
  if (expires) words.push("--expires", expires);
  return words.join(" ");
}

/** Ask for a name and the rest, make a token, show it. Resolves with whether one was made. */
export function makeToken(session, owners, owner) {
  return dialog("New token", (close) => {
    const box = h("div");
    const first = !session.guarded;
    const form = fields(owners, first ? TOP : owner, first);
    const errors = h("div");
    const writes = session.write_back !== "off" && canHash();
    const button = h("button.primary", { type: "submit" }, writes ? "Make it" : "Show the command");
    form.element.append(errors,
      h("div.row.end", {}, h("button", { type: "button", onclick: () => close(false) }, "Cancel"), button));
    form.element.addEventListener("submit", async (event) => {
      event.preventDefault();
      const asked = form.value();
      if (!writes) return fill(box, commanded(session, asked, close));
      button.disabled = true;
      try {
        await shown(box, await made(asked), session, close);
      } catch (problem) {
        button.disabled = false;
        fill(errors, form.blame(problem) ? null : notice(problem));
      }
    });
    return fill(box, first ? firstOfAll() : null, form.element);
  });
}

const firstOfAll = () => h("div.notice.warn", {},
  h("p", {},
    "This server has no token and is open to this machine. After the first token every request "
      + "needs one, so it must be an admin's."));

async function made({ owner, name, role, expires }) {
  const token = newToken();
  const body = { name, role, expires, sha256: await hashOf(token) };
  const user = await send("POST", `/api/users/${encodeURIComponent(owner)}/tokens`, body);
  return { token, owner, name, role, expires, write: user.write_back };
}

/** Show the token until the reader confirms to have kept it. On an open server it signs this browser in. */
async function shown(box, made, session, close) {
  const waits = made.write.branch !== null;
  let signedIn = false;
  if (!session.guarded && !waits) signedIn = await signInWith(made.token);
  const done = h("button.primary", { type: "button", onclick: () => close(true) }, "I have kept it");
  const until = made.expires ? `until ${made.expires} (UTC)` : "without an end";
  fill(box, h("div.stack", {},
    h("p", { role: "status" }, h("strong", {}, `${made.owner}/${made.name}`), `, ${made.role}, ${until}.`),
    h("div.notice.warn", {}, h("p", {}, "Copy it now: it will not be shown again. The server stores its hash only.")),
    copyable(made.token),
    made.write.message ? h("div.notice", {}, h("p", {}, `${sentence(made.write.message)}.`)) : null,
    signedIn ? h("p.soft", {}, "This browser is signed in with it.") : null,
    h("p.soft", {},
      waits ? "It is valid once the branch is merged: " : "It is valid now. Written: ", h("code", {}, made.write.path),
      made.write.commit ? [" in commit ", h("code", {}, short(made.write.commit))] : null, "."),
    h("div.row.end", {}, done)));
  const frame = box.closest("dialog");
  frame.addEventListener("cancel", (event) => event.preventDefault()); // Escape would lose it
  box.querySelector("button").focus();
}

async function signInWith(token) {
  try {
    await request("POST", "/api/session", { headers: { Authorization: `Bearer ${token}` }, again: false });
    return true;
  } catch (problem) {
    if (problem instanceof Problem) return false;
    throw problem;
  }
}

function commanded(session, asked, close) {
  const why = session.write_back === "off"
    ? "This server is read-only. Where the files are, this makes the token and prints it, once:"
    : "A browser can make tokens only over https or on the server's machine. "
      + "Where the files are, this does the same:";
  return h("div.stack", {},
    h("p", {}, why),
    copyable(command("create", asked.owner, asked.name, asked)),
    h("p.soft", {},
      "Then commit ", h("code", {}, `${session.files}/${asked.owner === TOP ? "" : `${asked.owner}/`}_user.yaml`),
      " and run ", h("code", {}, "agentsd sync"), "."),
    h("div.row.end", {}, h("button.primary", { type: "button", onclick: () => close(false) }, "Close")));
}

function fields(owners, owner, first) {
  const list = newId("owners");
  const whose = h("input", {
    name: "user", value: owner, required: true, maxLength: 200, autocomplete: "off", spellcheck: "false", list,
    disabled: first, oninput: follow,
  });
  const name = h("input", {
    name: "name", required: true, maxLength: 100, pattern: NAME, autocomplete: "off", spellcheck: "false",
    autofocus: true, title: "ASCII letters, digits, '.', '_', '-' and '@'",
  });
  const role = choices(first ? "admin" : "viewer", first);
  const ends = h("select", { name: "expires", onchange: follow },
    ENDS.map(([value, text]) => h("option", { value, selected: value === "90" }, text)));
  const day = h("input", {
    name: "day", type: "date", min: dayIn(0), value: dayIn(90), hidden: true, ariaLabel: "Last valid day",
  });
  const all = {
    user: labelled("Owner", whose, "A folder of agents, or default: the top level."),
    name: labelled("Name", name, "Its purpose: ci, laptop, ann."),
    role: role.part,
    expires: labelled("Expires", ends, "Days end at midnight UTC.", day),
  };
  function follow() {
    role.admins(whose.value.trim() === TOP);
    day.hidden = ends.value !== "day";
    day.required = !day.hidden;
  }
  follow();
  return {
    element: h("form.stack.token-form", {},
      Object.values(all).map((part) => part.element),
      h("datalist", { id: list }, owners.map((one) => h("option", { value: one })))),
    value: () => ({
      owner: whose.value.trim(), name: name.value.trim(), role: role.value(),
      expires: ends.value === "" ? null : ends.value === "day" ? day.value : dayIn(Number(ends.value)),
    }),
    blame: (problem) => {
      for (const part of Object.values(all)) part.wrong(null);
      const part = all[problem.code === "token_exists" ? "name" : problem.param];
      part?.wrong(problem);
      return part !== undefined;
    },
  };
}

/** A field with its label, help and error. */
function labelled(label, control, help, more = null) {
  const id = newId("field");
  const about = newId("help");
  const wrong = newId("error");
  control.id = id;
  control.setAttribute("aria-describedby", `${about} ${wrong}`);
  const error = h("div.error", { id: wrong });
  const element = h("div.field", {},
    h("label", { htmlFor: id }, label),
    control,
    more,
    h("div.help", { id: about }, help),
    error);
  return { element, wrong: (problem) => tell(error, control, problem) };
}

function tell(error, control, problem) {
  fill(error, problem ? [sentence(problem.message), problem.hint ? `: ${problem.hint}` : ""] : null);
  control.setAttribute("aria-invalid", String(problem !== null));
  if (problem) control.focus();
}

function choices(usual, fixed) {
  const name = newId("role");
  const wrong = newId("error");
  const error = h("div.error", { id: wrong });
  const radios = ROLES.map(([value, about]) => {
    const id = newId("role");
    const help = newId("help");
    const radio = h("input", {
      id, type: "radio", name, value, checked: value === usual, disabled: fixed && value !== usual,
      ariaDescribedby: `${help} ${wrong}`,
    });
    return {
      radio,
      element: h("div.role", {},
        radio,
        h("div", {}, h("label", { htmlFor: id }, value), h("div.help", { id: help }, about))),
    };
  });
  const element = h("fieldset.roles", {}, h("legend", {}, "Role"), radios.map((one) => one.element), error);
  const [viewer, , admin] = radios.map((one) => one.radio);
  return {
    part: { element, wrong: (problem) => tell(error, radios.find((one) => one.radio.checked).radio, problem) },
    value: () => radios.find((one) => one.radio.checked).radio.value,
    admins: (may) => {
      if (fixed) return;
      admin.disabled = !may;
      if (!may && admin.checked) viewer.checked = true;
    },
  };
}
