// Owners and their tokens: users see their own; admins see all, make and revoke tokens.

import { getAll, send } from "../api.js";
import { confirm, dialog, toast } from "../dialogs.js";
import { byId, debounced, fill, h, newId } from "../dom.js";
import { ago, count } from "../format.js";
import { on, onState } from "../live.js";
import { copyable, notice } from "../marks.js";
import { command, makeToken } from "../newtoken.js";
import { boot } from "../shell.js";

const MOST = 100;
const PAUSE_MS = 150;

const session = await boot();
const isAdmin = session.role === "admin";
let owners = [];
let all = false;

const problems = h("div");
const list = h("div.stack");
const filterId = newId("filter");
const filter = h("input", {
  id: filterId, type: "search", placeholder: "Owner or token", autocomplete: "off", spellcheck: "false",
  oninput: debounced(show, PAUSE_MS),
});
const found = h("p.soft.found", { role: "status" });

fill(byId("page"), h("div.stack", {},
  about(),
  h("div.row.spread", {},
    isAdmin ? h("div.grow.filter", {}, h("label.visually-hidden", { htmlFor: filterId }, "Filter"), filter) : null,
    isAdmin ? h("button.primary", { type: "button", onclick: () => create("default") }, "New token") : null),
  problems, found, list));

await load();
on("run", debounced(load, PAUSE_MS));
on("resync", debounced(load, PAUSE_MS));
let store = "ok";
onState((state) => {
  if (store === "away" && state.store === "ok") load();
  store = state.store;
});

function about() {
  const told = isAdmin
    ? "A token identifies a client and its permissions."
    : `Tokens for access as ${session.user}. Only admins make and revoke tokens.`;
  const off = isAdmin && session.write_back === "off"
    ? " This server is read-only: you get the command to make or revoke one where the files are."
    : "";
  return h("p.soft", {}, `${told} Only its hash is stored, in its owner's `, h("code", {}, "_user.yaml"), `.${off}`);
}

async function load() {
  try {
    owners = (await getAll("/api/users")).items;
    fill(problems);
    show();
  } catch (problem) {
    fill(problems, notice(problem));
  }
}

function show() {
  const text = filter.value.trim().toLowerCase();
  const hits = owners.filter((one) => !text
    || one.username.toLowerCase().includes(text)
    || one.tokens.some((token) => token.name.toLowerCase().includes(text)));
  const shown = all ? hits : hits.slice(0, MOST);
  const tokens = owners.reduce((sum, one) => sum + one.tokens.length, 0);
  fill(found,
    isAdmin && owners.length
      ? text
        ? `${count(hits.length)} of ${plural(owners.length, "owner")}`
        : `${plural(owners.length, "owner")}, ${plural(tokens, "token")}`
      : "");
  fill(list, shown.map(card),
    hits.length > shown.length
      ? h("div.row", {},
        h("button", { type: "button", onclick: () => { all = true; show(); } }, `Show all ${count(hits.length)}`))
      : null,
    hits.length
      ? null
      : h("p.empty", {},
        owners.length
          ? "No owner or token matches."
          : session.guarded
            ? "There are no owners yet."
            : "There are no owners yet, and no tokens: this server is open to this machine."));
}

function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function card(user) {
  const id = newId("owner");
  const isTop = user.username === "default";
  const facts = [
    user.email, user.path ? h("code", {}, `${session.files}/${user.path}`) : "no user file",
    user.source === "main" ? null : `source ${user.source}`,
  ].filter(Boolean);
  return h("section.card.owner", { ariaLabelledby: id },
    h("div.row.spread", {},
      h("div", {},
        h("h2", { id }, user.username, isTop ? h("span.badge", {}, "top level") : null),
        h("p.soft.small.facts", {}, facts.map((part, index) => [index ? " · " : "", part]))),
      isAdmin
        ? h("button.small", {
          type: "button", ariaLabel: `New token for ${user.username}`, onclick: () => create(user.username),
        }, "New token")
        : null),
    user.tokens.length ? table(user, id) : h("p.soft.none", {}, "No tokens."));
}

function table(user, labelId) {
  const head = ["Name", "Role", "Expires", ...(isAdmin ? [h("span.visually-hidden", {}, "Actions")] : [])];
  return h("table.cards.tokens", { ariaLabelledby: labelId },
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, user.tokens.map((token) => row(user, token))));
}

function row(user, token) {
  const mine = session.guarded && session.user === user.username && session.name === token.name;
  const ends = token.expires
    ? h("span", {},
      token.expires, " ",
      token.expired ? h("span.badge.bad", {}, "expired") : h("span.soft.small", {}, ago(token.expires)))
    : h("span.soft", {}, "never");
  return h("tr", {},
    h("td", {}, h("strong", {}, token.name), " ", mine ? h("span.badge.info", {}, "you") : null),
    h("td", { "data-label": "Role" }, h("span.badge", { class: token.role === "admin" ? "accent" : "" }, token.role)),
    h("td", { "data-label": "Expires" }, ends),
    isAdmin
      ? h("td.act", {},
        h("button.small.danger", {
          type: "button", ariaLabel: `Revoke ${user.username}/${token.name}`,
          onclick: () => revoke(user.username, token),
        }, "Revoke"))
      : null);
}

async function create(owner) {
  const done = await makeToken(session, owners.map((one) => one.username), owner);
  if (!done) return;
  if (session.guarded) await load();
  else location.reload(); // a user is signed in now
}

async function revoke(owner, { name }) {
  if (session.write_back === "off") return commanded(owner, name);
  const path = `/api/users/${encodeURIComponent(owner)}/tokens/${encodeURIComponent(name)}`;
  const text = "It stops working at once: requests are refused, event streams and calls end. "
    + "This cannot be undone.";
  const done = await confirm(`Revoke ${owner}/${name}?`, text, {
    action: "Revoke", danger: true, work: () => tried(path),
  });
  if (done?.lockout) return force(owner, name, path, done.lockout);
  if (done) await told(owner, name, done);
}

/** Return a refusal for lockout, to be confirmed once more; any other stays in the dialog. */
async function tried(path) {
  try {
    return await send("DELETE", path);
  } catch (problem) {
    if (problem.code === "lockout") return { lockout: problem };
    throw problem;
  }
}

async function force(owner, name, path, problem) {
  const text = "You will be signed out. Without an admin token, tokens can only be made where the files are, "
    + "with agentsd token create.";
  const work = () => send("DELETE", `${path}?force=true`);
  const done = await confirm(`Really revoke ${owner}/${name}?`, text, {
    action: "Revoke anyway", danger: true, typed: name, more: notice({ message: problem.message }, "warn"), work,
  });
  if (done) location.reload();
}

async function told(owner, name, { write_back: write }) {
  toast(write.branch ? `The edit waits on the branch ${write.branch}.` : `${owner}/${name} is revoked.`);
  await load();
}

function commanded(owner, name) {
  return dialog(`Revoke ${owner}/${name}`, (close) => h("div.stack", {},
    h("p", {}, "This server is read-only. Where the files are, run:"),
    copyable(command("revoke", owner, name)),
    h("p.soft", {}, "Then commit the change and run ", h("code", {}, "agentsd sync"), "."),
    h("div.row.end", {}, h("button.primary", { type: "button", onclick: () => close() }, "Close"))));
}
