// Derived values of /api/sync. Pure.

const SILENT_MS = 15_000; // replicas beat every ten seconds

/** Return the newest known version; `said`: that of the last event. */
export function headOf(data, said) {
  const versions = [
    data.version, said, ...(data.replicas ?? []).map((one) => one.version),
    ...(data.runs ?? []).map((run) => run.version ?? 0),
  ];
  return Math.max(...versions);
}

/** Return the milliseconds since the last heartbeat of a replica. */
export const silence = (replica, now) => (replica.seen_at ? Math.max(0, now - Date.parse(replica.seen_at)) : 0);

/** Return whether a replica counts as gone. */
export const isSilent = (replica, now) => silence(replica, now) > SILENT_MS;

/** Return whether a live replica serves an older version than the newest. */
export function lags(data, said, now) {
  const head = headOf(data, said);
  return (data.replicas ?? []).some((one) => one.version < head && !isSilent(one, now));
}

/** Return the name of a replica; only admins see hosts. */
export function nameOf(replica, index) {
  return replica.host ? `${replica.host}:${replica.pid}` : `Replica ${index + 1}`;
}

/** Return a function that calls `draw(value)` only where `value` changed, so that the focus is kept. */
export function onChange(draw) {
  let last = null;
  return (value, ...more) => {
    const key = JSON.stringify(value);
    if (key === last) return;
    last = key;
    draw(value, ...more);
  };
}

/** "1 agent", "2 agents". */
export function many(number, one, more = `${one}s`) {
  return `${new Intl.NumberFormat("en").format(number)} ${number === 1 ? one : more}`;
}

/** A list with "and". */
export const listed = (words) => (words.length < 2
  ? words.join("")
  : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
