// Answers come late, and in any order: only that to the last question counts.

/** A function `(work, show, fail)` that shows what the latest `work()` found, and drops what earlier ones find. */
export function latest() {
  let turn = 0;
  return async (work, show, fail) => {
    const mine = (turn += 1);
    try {
      const found = await work();
      if (mine === turn) show(found);
    } catch (problem) {
      if (mine === turn) fail(problem);
    }
  };
}
