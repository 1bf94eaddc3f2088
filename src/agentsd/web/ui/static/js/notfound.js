// The page of an agent that does not exist, or that this user may not see: both look the same.

import { get, inPath } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { fileFault } from "./refused.js";

const LOOKED_AT = 1000; // agents whose names are compared: as many as one reply contains
const SUGGESTED = 3;
const FAR = 0.34; // of the letters may differ

/** Show that there is no such agent in place of the page, with those of similar names. */
export async function showMissing(name, files) {
  const slug = name.replaceAll("~", "/");
  const near = h("div", { role: "status" });
  const file = h("div");
  const title = "No such agent";
  document.title = `${title} · agentsd`;
  fill(byId("content"),
    h("h1", {}, title),
    h("div.card.stack.missing", {},
      h("p", {}, "There is no agent ", h("code", {}, slug),
        ", or your token may not see it. It may have been renamed or deleted."),
      file, near,
      h("p", {}, h("a", { href: "/ui/agents" }, "All agents"))));
  byId("content").inert = false;
  await Promise.all([
    similar(slug).then((found) => fill(near, found.length ? suggestions(found) : null)),
    fileFault(slug, files).then((fault) => fill(file, fault)),
  ]).catch(() => {}); // the page is complete without
}

function suggestions(found) {
  const address = (slug) => {
    const to = new URL(location.href);
    const name = to.searchParams.has("agent") ? "agent" : "copy";
    return `${to.pathname}?${name}=${inPath(slug)}`;
  };
  return [
    h("p", {}, "Did you mean:"),
    h("ul", {}, found.map((one) => h("li", {},
      h("a", { href: address(one.slug) }, one.name), " ", h("code", {}, one.slug)))),
  ];
}

async function similar(slug) {
  const { items } = await get(`/api/agents?view=summary&limit=${LOOKED_AT}`);
  const last = (path) => path.split("/").at(-1);
  const wanted = slug.toLowerCase();
  return items
    .map((one) => [Math.min(distance(wanted, one.slug), distance(last(wanted), last(one.slug)) + 1), one])
    .filter(([far]) => far <= wanted.length * FAR)
    .sort(([one], [other]) => one - other)
    .slice(0, SUGGESTED)
    .map(([, one]) => one);
}

/** The edits of one letter that lead from one word to another. */
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + Number(one[i - 1] !== other[j - 1])));
    }
    row = next;
  }
  return row.at(-1);
}
