// The turns of a call: the times of their steps, and how each ended.

/**
 * A turn. `noticed`, `heard`, `token`, `sound` are ms after `from`, as measured in this page.
 * @typedef {object} Turn
 * @property {string} kind spoken or written
 * @property {number} from on this page's clock
 * @property {string | null} item
 * @property {string | null} answer
 * @property {string | null} agent a slug and a version
 * @property {number | null} noticed
 * @property {number | null} heard
 * @property {number | null} token
 * @property {number | null} sound
 * @property {string} reason why it ended, as the server reports it; "" while it has not
 * @property {Record<string, number | null> | null} times as the server reports them
 * @property {number} tools ms of the tools that the server ran
 * @property {number} discarded answers that were begun too early, and thrown away
 */

/** @returns {Turn} */
const blank = (kind, from) => ({
  kind, from, item: null, answer: null, agent: null, noticed: null, heard: null, token: null, sound: null, reason: "",
  times: null, tools: 0, discarded: 0,
});

/** All turns of a call. `now` is a clock in ms. */
export class Turns {
  constructor(now = () => performance.now()) {
    this.now = now;
    /** @type {Turn[]} */
    this.all = [];
  }

  /** Note that a text was sent. */
  wrote() { this.all.push(blank("written", this.now())); }

  /** Note that the server noticed the end of the speech `item`, at `from` on this page's clock. */
  spoke(item, from) { this.all.push({ ...blank("spoken", from), item, noticed: this.now() - from }); }

  /** Note that the whole transcript of `item` has come. */
  transcribed(item) {
    const turn = this.all.find((one) => one.item === item);
    if (turn) turn.heard = this.now() - turn.from;
  }

  /** Note that an answer began, to the last turn unless that has one (a greeting answers no turn). */
  answered(answer, agent) {
    const turn = this.all.at(-1);
    if (turn && turn.answer === null && !turn.reason) Object.assign(turn, { answer, agent });
  }

  /** Note the first word of an answer. */
  word(answer) {
    const turn = this.of(answer);
    if (turn) turn.token ??= this.now() - turn.from;
  }

  /** Note the first sound of an answer, which is played in `ms`. */
  sounded(answer, ms) {
    const turn = this.of(answer);
    if (turn) turn.sound ??= this.now() + ms - turn.from;
  }

  /** Note the server's report of a turn that has ended. Sound that counted for nothing had no event before. */
  reported(report) {
    const { item_id: item, response_id: answer, reason, times_ms: times, agent, agent_version: version } = report;
    const turn = this.whose(item, answer);
    if (!turn) return;
    turn.agent ??= agent && `${agent} v${version}`;
    const tools = report.tools.reduce((sum, { ms }) => sum + ms, 0);
    Object.assign(turn, { answer, reason, times, tools, discarded: report.answers_discarded });
  }

  whose(item, answer) {
    const found = this.all.find((one) => (item && one.item === item) || (answer && one.answer === answer));
    if (found) return found;
    if (!item) return answer ? null : this.all.find((one) => one.kind === "written" && !one.reason);
    this.all.push({ ...blank("spoken", this.now()), item });
    return this.all.at(-1);
  }

  of(answer) { return this.all.find((one) => one.answer === answer); }
}

/** Return a turn as it is kept. */
export const keptTurn = ({ kind, agent, noticed, heard, token, sound, reason, times, tools, discarded }) => (
  { kind, agent, noticed, heard, token, sound, reason, times, tools, discarded });

const STEPS = ["pause", "stt", "llm", "tts"];

/**
 * Return the steps of a turn up to its first sound, or its failure, in order: `[{ name, ms }]`. The server's times
 * where they have come; what its sound took from there to the loudspeaker is the last one, `way`.
 * @returns {{ name: string, ms: number }[]}
 */
export function stepsOf({ kind, reason, times, tools, noticed, heard, token, sound }) {
  const ends = times
    ? [times.speech_ended, times.transcribed, times.first_token, times.first_sound]
    : [noticed, heard, token, sound];
  const steps = [];
  let before = 0;
  STEPS.forEach((name, at) => {
    const end = ends[at] ?? null;
    if (end === null || (kind === "written" && at < 2)) return;
    const ms = Math.max(0, end - before);
    const used = name === "llm" ? Math.min(tools, ms) : 0; // tools run before the answer's words
    steps.push({ name, ms: ms - used });
    if (used) steps.push({ name: "tool", ms: used });
    before = Math.max(before, end);
  });
  if (reason === "failed" && times.first_sound === null) {
    steps.push({ name: "failed", ms: Math.max(0, times.ended - before) });
  } else if (times && sound !== null && sound > before) steps.push({ name: "way", ms: sound - before });
  return steps;
}

/** Return the ms of all steps. */
export const lengthOf = (steps) => steps.reduce((sum, { ms }) => sum + ms, 0);

const KEPT_MS = 120_000;

/** The times at which sound was sent: the server counts in ms of sound, this page in ms of its clock. */
export class Timeline {
  constructor() {
    this.marks = []; // [ms of sound at the end of a block, when it was sent]
    this.ms = 0;
  }

  sent(ms, now) {
    this.ms += ms;
    this.marks.push([this.ms, now]);
    if (this.marks[0][1] < now - KEPT_MS) this.marks.splice(0, this.marks.length / 2);
  }

  /** Return the clock's time at `ms` of sound. */
  at(ms, now) {
    const after = this.marks.find(([end]) => end >= ms);
    return after ? after[1] - (after[0] - ms) : now;
  }
}
