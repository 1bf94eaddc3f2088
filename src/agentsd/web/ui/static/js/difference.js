// Differences of two texts, by lines or by words. Pure.

const CELLS_MAX = 1_000_000; // of the table: beyond, the whole middle counts as changed
const WORD = /[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu;

/** The words of a text, with the spaces and signs between them. */
export const wordsOf = (text) => text.match(WORD) ?? [];

/**
 * The steps from `old` to `next`, lists of strings: `[["same" | "del" | "add", text], …]` of a longest common part.
 * @param {string[]} old
 * @param {string[]} next
 * @returns {[string, string][]}
 */
export function stepsBetween(old, next) {
  let start = 0;
  while (start < old.length && start < next.length && old[start] === next[start]) start += 1;
  let ends = [old.length, next.length];
  while (ends[0] > start && ends[1] > start && old[ends[0] - 1] === next[ends[1] - 1]) {
    ends = [ends[0] - 1, ends[1] - 1];
  }
  return [
    ...old.slice(0, start).map(as("same")),
    ...middle(old.slice(start, ends[0]), next.slice(start, ends[1])),
    ...old.slice(ends[0]).map(as("same")),
  ];
}

/** @returns {(text: string) => [string, string]} */
const as = (kind) => (text) => [kind, text];

function middle(old, next) {
  if (!old.length || !next.length || old.length * next.length > CELLS_MAX) {
    return [...old.map(as("del")), ...next.map(as("add"))];
  }
  const width = next.length + 1;
  const longest = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = next.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = old[i] === next[j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  return walk(old, next, longest, width);
}

function walk(old, next, longest, width) {
  const steps = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < next.length) {
    if (i < old.length && j < next.length && old[i] === next[j]) { steps.push(["same", old[i]]); i += 1; j += 1; }
    else if (j === next.length || (i < old.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      steps.push(["del", old[i]]);
      i += 1;
    } else { steps.push(["add", next[j]]); j += 1; }
  }
  return steps;
}

/** Join steps of the same kind that follow each other. */
export function joined(steps) {
  /** @type {[string, string][]} */
  const runs = [];
  for (const [kind, text] of steps) {
    if (runs.at(-1)?.[0] === kind) runs.at(-1)[1] += text;
    else runs.push([kind, text]);
  }
  return runs;
}

/** Return which part, 0 to 1, of two texts is the same; spaces do not count. */
export function likeness(steps) {
  const sizes = { same: 0, del: 0, add: 0 };
  for (const [kind, text] of steps) sizes[kind] += text.trim().length;
  const all = 2 * sizes.same + sizes.del + sizes.add;
  return all ? (2 * sizes.same) / all : 1;
}
