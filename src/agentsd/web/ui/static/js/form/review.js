// The review of a save: its diff and its commit, and then the save itself.

import { Problem, send } from "../api.js";
import { isNullish } from "../data.js";
import { dialog } from "../dialogs.js";
import { diff } from "../diff.js";
import { fill, h } from "../dom.js";
import { notice } from "../marks.js";

const BACK_TO_THE_FORM = [404, 412, 422];

/**
 * A request that writes an agent.
 * @typedef {{ method: string, path: string, body: any, etag?: string | null }} Write
 */

/**
 * Return the server's preview of a write. Throws what the write itself would.
 * @param {Write} write
 */
export function preview({ method, path, body, etag }) {
  return send(method, `${path}?dry_run=true`, body, { etag });
}

/** Show a preview, and save: `{ reply }`, `{ problem }` to show at the form, or undefined (not saved). */
export function review(write, shown, note = null) {
  return dialog("Review the change", (close) => {
    const errors = h("div");
    const button = h("button.primary", { type: "submit" }, "Save");
    const submit = async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      fill(button, "Saving…");
      try {
        close({ reply: await send(write.method, write.path, write.body, { etag: write.etag }) });
      } catch (problem) {
        if (problem instanceof Problem && BACK_TO_THE_FORM.includes(problem.status)) return close({ problem });
        fill(errors, notice(problem));
        fill(button, "Save");
        button.disabled = false;
      }
      return undefined;
    };
    return h("form.stack", { onsubmit: submit },
      note && h("p.notice.warn", {}, note),
      facts(shown),
      changes(shown),
      errors,
      h("div.row.end", {}, h("button", { type: "button", onclick: () => close() }, "Back to the form"), button));
  }, { wide: true });
}

function changes(shown) {
  return shown.diff ? diff(shown.diff, { whole: true }) : h("p.empty", {}, "The file is unchanged.");
}

function facts({ file, mode, branch, commit_message }) {
  return h("dl.facts", {},
    h("dt", {}, "File"), h("dd", {}, h("code", {}, file)),
    commit_message ? [h("dt", {}, "Commit"), h("dd.message", {}, commit_message)] : null,
    h("dt", {}, "Then"), h("dd", {}, whatThen(mode, branch)));
}

function whatThen(mode, branch) {
  if (branch) return ["It waits on the branch ", h("code", {}, branch), " until that is merged."];
  return mode === "git"
    ? "The change is committed and live at once."
    : "The file is written, and live at once. Nothing is committed.";
}

/** Return the outcome of a save as a sentence. */
export function outcomeOf({ write_back: done, version, slug }) {
  if (done?.branch && isNullish(version)) return `The change of ${slug} waits on the branch ${done.branch}.`;
  const commit = done?.commit ? ` as commit ${done.commit.slice(0, 8)}` : "";
  const more = done?.message ? ` ${done.message[0].toUpperCase()}${done.message.slice(1)}.` : "";
  return `Saved ${slug}${commit}${isNullish(version) ? "" : `: version ${version}`}.${more}`;
}
