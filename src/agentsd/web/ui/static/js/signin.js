// Signing in with a token. The server keeps it in a cookie that scripts cannot read; this page forgets it at once.

import { Problem, request } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { notice } from "./marks.js";
import { dialog } from "./dialogs.js";

let asking = null;

/** Ask for a token until one is valid; concurrent callers wait for the same dialog. */
export function signIn() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

async function ask() {
  while (!(await once())) { /* Escape closes the dialog, which opens again: nothing is shown without a token */ }
}

function once() {
  return dialog("Sign in", (close) => {
    const errors = h("div");
    const id = newId("token");
    const field = h("input", {
      id, name: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true,
    });
    const submit = async (event) => {
      event.preventDefault();
      try {
        const headers = { Authorization: `Bearer ${headerSafe(field.value.trim())}` };
        await request("POST", "/api/session", { headers, again: false });
        field.value = "";
        close(true);
      } catch (problem) {
        const wrong = problem.status === 401;
        const reason = { detail: "this token is not valid here", hint: "it may be mistyped, revoked or expired" };
        fill(errors, notice(wrong ? new Problem(401, reason) : problem));
        field.select();
      }
    };
    return h("form.stack", { onsubmit: submit, "data-sign-in": "" },
      h("p.soft", {},
        "This server requires a token. An admin makes one with ", h("code", {}, "agentsd token create"), "."),
      h("div.field", {}, h("label", { htmlFor: id }, "Token"), field),
      errors,
      h("div.row.end", {}, h("button.primary", { type: "submit" }, "Sign in")));
  });
}

/** Return a token for a header; one with characters that a header cannot contain is replaced, and refused. */
const headerSafe = (text) => (/^[\x21-\x7e]+$/.test(text) ? text : "not-a-token");

const SIGNED_IN = "agentsd.signed-in";

/** Reload pages in other tabs, and those behind the back button, after signing out. */
export function leaveTogether() {
  localStorage.setItem(SIGNED_IN, "yes");
  addEventListener("storage", ({ key, newValue }) => {
    if (key === SIGNED_IN && newValue === null) location.reload();
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted && localStorage.getItem(SIGNED_IN) === null) location.reload();
  });
}

/** Forget the token, and all that this browser kept for its user. */
export async function signOut() {
  await request("DELETE", "/api/session");
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith("agentsd.") && name !== "agentsd.theme") localStorage.removeItem(name);
  }
  location.reload();
}
