// Plain data, as JSON carries it.

/** Whether a value is null or undefined. */
export const isNullish = (value) => value === null || value === undefined;

/** A copy of an object without some of its members. */
export function without(object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}
