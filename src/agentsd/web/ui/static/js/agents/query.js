// What the list shows, as it stands in the address: shared by a link, undone by the back button.

export const NAMES = ["q", "owner", "condition", "provider", "active", "sort"];

/** `{ q, owner, condition, provider, active, sort }`, "" where the address says nothing. */
export function asked() {
  const said = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, said.get(name) ?? ""]));
}

/** Put a query into the address, beside whatever else stands there. `step`: the back button undoes it. */
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

/** How many rows stood there, and how far down, for whoever comes back to this entry of the history. */
export function keepPlace(shown) {
  history.replaceState({ ...history.state, shown, y: scrollY }, "");
}

/** `{ shown, y }` as it was kept; zeros where nothing was. */
export const place = () => ({ shown: history.state?.shown ?? 0, y: history.state?.y ?? 0 });
