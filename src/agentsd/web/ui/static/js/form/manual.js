// Instructions where this page cannot save: the file to edit, its text to copy, and the command for secrets.

import { Problem } from "../api.js";
import { diff } from "../diff.js";
import { h } from "../dom.js";
import { copyable, notice, sentence } from "../marks.js";
import { SOME_SECRET } from "./controls.js";
import { inManifest } from "./patch.js";
import { preview } from "./review.js";
import { yaml } from "./yaml.js";

/** Return the nodes for a prepared write. Throws a `Problem` 412 or 422, to show at the form. */
export async function instructions(write, { slug, files }) {
  try {
    return shown(await preview(write), slug);
  } catch (problem) {
    const refused = problem instanceof Problem && [403, 405].includes(problem.status);
    if (!refused) throw problem;
    return told(write, slug, problem.body.file ?? `${files}/${slug || "NAME"}.yaml`);
  }
}

function shown({ file, path, diff: changes, text }, slug) {
  const name = slug || path.replace(/\.ya?ml$/, "");
  const sealed = text.includes("ENC[…]");
  return [
    h("h2", {}, "What to do"),
    h("ol.steps", {},
      h("li", {}, sealed ? toChange(file, changes, text) : toPaste(file, changes, text)),
      text.includes("ENC[sealed by:") ? h("li", {}, secretStep(name)) : null,
      h("li", {}, syncStep())),
  ];
}

function toPaste(file, changes, text) {
  const known = !changes.startsWith("--- /dev/null");
  return [
    "This is the whole text of ", h("code", {}, file), ":", copyable(text),
    known ? folded("Changes in the file", diff(changes, { whole: true })) : null,
  ];
}

/** Show a diff instead of a text to paste: this page does not have the sealed values. */
function toChange(file, changes, text) {
  const note = h("p.help", {},
    "Lines that show ", h("code", {}, "ENC[…]"), " are sealed: leave them as they are in the file.");
  return [
    "Make this change in ", h("code", {}, file), ":", h("div.copyable", {}, diff(changes, { whole: true })),
    folded("The whole resulting text", note, copyable(text)),
  ];
}

const folded = (title, ...nodes) => h("details", {}, h("summary", {}, title), nodes);

/** Show what was typed as YAML, for another user: this role may not even preview it. */
function told({ method, body }, slug, file) {
  const what = method === "POST" ? "A new file with this text:" : "These values, and the rest as it is:";
  return [
    notice({ message: "Your role may not change this agent", hint: "pass this on to an editor" }, "warn"),
    h("h2", {}, "What to do"),
    h("ol.steps", {},
      h("li", {}, what, " ", h("code", {}, file), copyable(yaml(named(inManifest(body), slug)))),
      h("li", {}, secretStep(slug || "NAME")),
      h("li", {}, syncStep())),
  ];
}

/** Return a value with a placeholder for each secret that is still to be sealed. */
function named(value, slug) {
  if (value === SOME_SECRET) return `ENC[sealed by: agentsd edit ${slug || "NAME"}]`;
  if (Array.isArray(value)) return value.map((one) => named(one, slug));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, named(item, slug)]));
}

const secretStep = (name) => [
  "Type the secrets with ", h("code", {}, `agentsd edit ${name}`), ": it seals them with sops.",
];
const syncStep = () => [
  "Commit it. Where ", h("code", {}, "agentsd up"), " or ", h("code", {}, "agentsd watch"),
  " watches the folder, saving is enough; otherwise run ", h("code", {}, "agentsd sync"), ".",
];

/** Return why nothing can be saved here, or null. */
export function whyNot(session, owner) {
  if (session.write_back === "off") {
    return sentence("this server is read-only: prepare the change here, and make it in the file");
  }
  if (!session.canWrite(owner)) {
    return sentence(
      `your role may not change agents of ${owner}: prepare the change here, and pass it on to an editor`,
    );
  }
  return null;
}
