// The query of the list, in the address: shared by a link, undone by the back button.

export const NAMES = ["q", "owner", "status", "provider", "active", "sort"];

/** Return `{ q, owner, status, provider, active, sort }` of the address, "" for what it lacks. */
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

/** Keep the number of rows and the scroll position in this entry of the history. */
export function keepPlace(shown) {
  history.replaceState({ ...history.state, shown, y: scrollY }, "");
}

/** Return `{ shown, y }` as it was kept; zeros where nothing was. */
export const place = () => ({ shown: history.state?.shown ?? 0, y: history.state?.y ?? 0 });
