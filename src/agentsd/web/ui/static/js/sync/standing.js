// What follows from /api/sync, without a page.

const SILENT_MS = 15_000; // replicas beat every ten seconds

/** The newest version that anybody knows of; `said`: one that an event told of. */
export function headOf(data, said) {
  const versions = [
    data.version, said, ...(data.replicas ?? []).map((one) => one.version),
    ...(data.runs ?? []).map((run) => run.version ?? 0),
  ];
  return Math.max(...versions);
}

/** Milliseconds since a replica was heard of. */
export const silence = (replica, now) => (replica.seen_at ? Math.max(0, now - Date.parse(replica.seen_at)) : 0);

/** Whether it counts as gone. */
export const isSilent = (replica, now) => silence(replica, now) > SILENT_MS;

/** Whether a replica that is there serves an older version than there is. */
export function lags(data, said, now) {
  const head = headOf(data, said);
  return (data.replicas ?? []).some((one) => one.version < head && !isSilent(one, now));
}

/** What people call a replica; who is no admin is not told hosts. */
export function nameOf(replica, index) {
  return replica.host ? `${replica.host}:${replica.pid}` : `Replica ${index + 1}`;
}

/** Runs `draw(value)` only where `value` is another than the last time: what has the focus keeps it. */
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
