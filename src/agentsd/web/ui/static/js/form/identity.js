// The owner and the file name of a new agent.

import { get } from "../api.js";
import { fill, h, newId } from "../dom.js";
import { control } from "./controls.js";

const TOP = "default";
const SUGGESTED = 200;
const SLUG = "^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9_-])?$";

/** Return `{ element, controls, get }`; `get()` returns `{ user }` or `{ slug }`, below its owner's folder. */
export function identity(session, { owner, onchange }) {
  const fixed = session.role !== "admin";
  const user = control(ownerSetting(), { pointer: "user", onchange: changed });
  const slug = control(slugSetting(), { pointer: "slug", onchange: changed });
  const file = h("p.help", { role: "status" });
  user.set(owner);
  const input = user.element.querySelector("input");
  input.readOnly = fixed;
  if (!fixed) suggest(input);

  function changed() { show(); onchange(); }
  function path() {
    const folder = (user.get() ?? TOP) === TOP ? "" : `${user.get()}/`;
    return slug.get() === undefined ? undefined : folder + slug.get();
  }
  function show() {
    fill(file,
      path() === undefined
        ? "The file is named after the agent's name."
        : ["The file: ", h("code", {}, `${session.files}/${path()}.yaml`)]);
  }
  show();
  return {
    controls: [user, slug],
    element: h("fieldset.card", {}, h("legend", {}, "File"), h("div.fields", {}, user.element, slug.element), file),
    owner: () => user.get() ?? TOP,
    get: () => (path() === undefined ? { user: user.get() ?? TOP } : { slug: path() }),
  };
}

const ownerSetting = () => ({
  name: "user", kind: "text", title: "Owner", required: true, usual: true, example: "acme",
  help: "The agent's folder; `default` is the top level.",
  schema: { pattern: "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$" },
});

const slugSetting = () => ({
  name: "slug", kind: "text", title: "Slug", required: false, usual: true, example: "support",
  help: "Its name in requests and URLs; derived from the name where empty.", schema: { pattern: SLUG, maxLength: 200 },
});

/** Suggest the present owners; a new one becomes a new folder. */
async function suggest(input) {
  const id = newId("owners");
  try {
    const { items } = await get(`/api/users?limit=${SUGGESTED}`);
    input.setAttribute("list", id);
    input.after(h("datalist", { id }, items.map((one) => h("option", { value: one.username }))));
  } catch { /* the owner can be typed */ }
}
