// Formats for people.

import { isNullish } from "./data.js";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

/** "3 minutes ago", of an ISO time or seconds since the epoch. */
export function ago(time, now = Date.now()) {
  let amount = (asDate(time).getTime() - now) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}

/** The full time, for titles. */
export const full = (time) => asDate(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const asDate = (time) => new Date(typeof time === "number" ? time * 1000 : time);

/** "340 ms", "2.1 s". */
export function millis(ms) {
  if (isNullish(ms)) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** "1,234". */
export const count = (number) => new Intl.NumberFormat("en").format(number);

/** "12 kB". */
export function bytes(size) {
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${Math.round(size / 1000)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

/** A commit's first characters. */
export const short = (commit) => (commit ? commit.slice(0, 8) : "");
