// The query of the list, in the address: shared by a link, undone by the back button.

/** @import { Refused } from "../refused.js" */

export const NAMES = ["q", "owner", "condition", "provider", "active", "sort"];

/** Return `{ q, owner, condition, provider, active, sort }` of the address, "" for what it lacks. */
export function asked() {
  const said = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, said.get(name) ?? ""]));
}

/** Put a query into the address, beside its other parameters. `step`: the back button undoes it. */
export function address(query, { step = true } = {}) {
  const url = new URL(location.href);
  for (const name of NAMES) {
    if (query[name]) url.searchParams.set(name, query[name]);
    else url.searchParams.delete(name);
  }
  if (step) history.pushState({}, "", url);
  else history.replaceState(history.state, "", url);
}

/** Whether anything narrows the list. */
export const isNarrow = (query) => NAMES.some((name) => name !== "sort" && query[name]);

/** The condition that only files have; the list of agents does not know it. */
export const REFUSED = "refused";

/**
 * Return the refused files that a query shows as rows of their own: those without an agent, or all where asked for.
 * @param {Record<string, string>} query
 * @param {Refused[]} files
 */
export function refusedFor({ q, owner, condition, provider, active }, files) {
  const wanted = q.toLowerCase();
  const ownerOf = (path) => (path.includes("/") ? path.split("/")[0] : "default");
  if (provider || active || ![REFUSED, "Invalid", ""].includes(condition)) return [];
  return files.filter((one) => (condition !== "" || one.serves === null)
    && (!owner || ownerOf(one.path) === owner)
    && one.path.toLowerCase().includes(wanted));
}

/** Keep the number of rows and the scroll position in this entry of the history. */
export function keepPlace(shown) {
  history.replaceState({ ...history.state, shown, y: scrollY }, "");
}

/** Return `{ shown, y }` as it was kept; zeros where nothing was. */
export const place = () => ({ shown: history.state?.shown ?? 0, y: history.state?.y ?? 0 });
