import { fillProviders, filters } from "../agents/filters.js";
import { PAGE, agentList } from "../agents/list.js";
import { asked, isNarrow, keepPlace, place } from "../agents/query.js";
import { rowsOf } from "../agents/rows.js";
import { firstSteps } from "../agents/steps.js";
import { byId, fill, h } from "../dom.js";
import { count } from "../format.js";
import { onAgents } from "../live.js";
import { notice } from "../marks.js";
import { arrive } from "../outcome.js";
import { boot } from "../shell.js";
import { keepTimes } from "../times.js";

history.scrollRestoration = "manual"; // the rows arrive after the browser has scrolled
let back = place(); // read before the history changes
let asking = "anew"; // the next answer: "anew" another list, "more" of the same, "again" the same
const ready = boot();
let files = "agents.d";
const draw = rowsOf(byId("rows"), () => files);
const list = agentList(show, fail);

function show(found) {
  const { items, total, refused, more } = found;
  const agents = total - refused;
  const next = document.activeElement === byId("more") ? items[byId("rows").children.length] : null;
  fill(byId("trouble"));
  const narrow = isNarrow(asked());
  draw(items, { marked: asking === "again" });
  const match = agents === 1 ? " matches" : " match";
  const all = `${count(agents)} ${agents === 1 ? "agent" : "agents"}${narrow ? match : ""}`;
  const bad = refused ? `, ${count(refused)} ${refused === 1 ? "file" : "files"} refused` : "";
  fill(byId("count"), `${more ? `${count(items.length)} of ${all}` : all}${bad}`);
  byId("clear").hidden = !narrow;
  byId("wrap").hidden = total === 0;
  byId("empty").hidden = total > 0;
  if (total === 0) fill(byId("empty"), narrow ? "No agent matches." : firstSteps(session));
  byId("more").hidden = !more;
  fill(byId("more"), `Show ${Math.min(PAGE, total - items.length)} more`);
  if (next) focusOn(next.slug);
  if (asking === "anew") scrollTo(0, back.y);
  asking = "again";
}

function focusOn(slug) {
  /** @type {HTMLAnchorElement | null} */
  const link = byId("rows").querySelector(`tr[data-slug="${CSS.escape(slug)}"] a`);
  link?.focus({ preventScroll: true });
}

function fail(problem) {
  const again = h("button.small", { type: "button", onclick: () => ask(asked()) }, "Try again");
  byId("clear").hidden = !isNarrow(asked());
  fill(byId("trouble"), h("div.stack", {}, notice(problem), h("div.row", {}, again)));
  if (asking !== "anew") { asking = "again"; return; } // the rows are still of this query
  fill(byId("count"), "The list could not be read.");
  draw([]);
  byId("wrap").hidden = true;
  byId("more").hidden = true;
}

function ask(query, returning = false) {
  asking = "anew";
  back = returning ? place() : { shown: 0, y: scrollY };
  list.load(query, back.shown);
}

function where(session) {
  byId("new").hidden = session.role === "viewer";
  const text = byId("where");
  const file = h("code", {}, session.files);
  if (session.write_back === "off") {
    fill(text,
      "This server is read-only: edit the files in ", file, ", then run ", h("code", {}, "agentsd sync"), " (where ",
      h("code", {}, "agentsd up"), " or ", h("code", {}, "agentsd watch"), " watches them, saving is enough).");
  } else if (session.role === "viewer") {
    fill(text,
      "Your token (role viewer) may read and talk only: edit agents with an editor token, or as files in ", file, ".");
  }
  text.hidden = !text.hasChildNodes();
}

filters(ask);
const session = await ready;
files = session.files;
where(session);
arrive(byId("outcome"));
list.load(asked(), back.shown);
onAgents(() => list.refresh());
byId("more").addEventListener("click", more);
addEventListener("pagehide", () => keepPlace(list.size()));
byId("rows").addEventListener("click", () => keepPlace(list.size()));
keepTimes();
fillProviders().catch(() => {}); // the list reports the error

function more() {
  if (asking === "more") return; // it is on its way; a disabled button would lose the focus
  asking = "more";
  list.more();
}
