// Requests whose replies may arrive in any order: only the reply to the last one is shown.

/** Return a function `(work, show, fail)` that shows the result of the latest `work()`, and drops earlier ones. */
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
