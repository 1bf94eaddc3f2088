// The outcome of a write, shown on the next page.

import { isNullish } from "./data.js";
import { fill, h } from "./dom.js";
import { short } from "./format.js";
import { sentence } from "./marks.js";

const KEY = "agentsd.outcome";

/** Return a notice: what was done, where it is, and the server's message. `reply`: of the write. */
export function outcomeOf(done, reply) {
  const { mode, path, commit, branch, pushed, message } = reply.write_back;
  const waits = isNullish(reply.version) && !reply.deleted;
  const where = [
    path,
    mode === "git" && commit ? `commit ${short(commit)}${branch ? ` on ${branch}` : ""}` : null,
    pushed === true ? "pushed" : pushed === false && mode === "git" ? "not pushed" : null,
    !isNullish(reply.version) && !reply.deleted ? `version ${reply.version}` : null,
  ].filter(Boolean).join(", ");
  return {
    tone: waits ? "warn" : "good", lead: waits ? `Not live yet: ${done}` : sentence(done), where,
    message: message ? `${sentence(message)}.` : "",
  };
}

/** Show it in `place`, a live region, with a button that removes it, and focus it: it may be out of sight. */
export function showOutcome(place, { tone, lead, where, message }) {
  const close = h("button.small.plain", { type: "button", onclick: () => fill(place) }, "Dismiss");
  fill(place,
    h("div.notice.row.spread", { class: tone },
      h("div.grow", {},
        h("p", {}, h("strong", {}, lead), where ? ` (${where})` : "", "."),
        message ? h("p.hint", {}, message) : null),
      close));
  place.tabIndex = -1;
  place.focus();
}

/** Keep it for the page that is opened next. */
export function carryOutcome(outcome) { sessionStorage.setItem(KEY, JSON.stringify(outcome)); }

/** Show what the previous page left. */
export function arrive(place) {
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (kept) showOutcome(place, JSON.parse(kept));
}
