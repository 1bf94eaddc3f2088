// A sentence that sums up the state.

import { byId, fill, h } from "../dom.js";
import { isSilent, listed, many, onChange } from "./standing.js";

/** Draws the sentence at the top. */
export function mountSummary() {
  const place = byId("summary");
  const draw = onChange(({ tone, text }) => fill(place,
    h(`span.dot.${tone}`, { ariaHidden: "true" }), h("span", {}, text)));
  return (standing) => draw(said(standing));
}

function said({ data, head, now }) {
  if (data.store === "away") {
    return {
      tone: "bad",
      text: `Postgres is away. This replica serves version ${data.version} from memory; `
        + "runs, files and the other replicas are unknown until it is back.",
    };
  }
  const live = data.replicas.filter((one) => !isSilent(one, now));
  const behind = live.filter((one) => one.version < head).length;
  const silent = data.replicas.length - live.length;
  const invalid = data.condition_counts.Invalid ?? 0;
  const wrong = [
    behind
      ? `${many(behind, "replica")} of ${live.length} still ${behind === 1 ? "serves" : "serve"} an older version`
      : "",
    silent ? `${many(silent, "replica")} ${silent === 1 ? "is" : "are"} silent` : "",
    invalid ? `${many(invalid, "manifest")} ${invalid === 1 ? "is" : "are"} set aside` : "",
    data.problems.length
      ? `${many(data.problems.length, "agent")} of this replica ${data.problems.length === 1 ? "is" : "are"} not ready`
      : "",
  ].filter(Boolean);
  if (wrong.length) return { tone: invalid || data.problems.length ? "bad" : "warn", text: `${listed(wrong)}.` };
  const serve = live.length === 1 ? "serves" : "serve";
  return { tone: "good", text: `Everything is in sync: ${many(live.length, "replica")} ${serve} version ${head}.` };
}
