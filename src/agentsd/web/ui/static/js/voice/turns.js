// The latency of each turn, measured in this page: from the end of speech, or from sending a text.

/** `heard`, `token`, `sound` are ms after `from`; null while they have not come. */
const blank = (kind, from) => ({
  kind, from, item: null, answer: null, agent: null, noticed: null, heard: null, token: null, sound: null, status: "",
});

/** All turns of a call. `now` is a clock in ms. */
export class Turns {
  constructor(now = () => performance.now()) {
    this.now = now;
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
    if (turn && turn.answer === null) Object.assign(turn, { answer, agent });
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

  /** Note the status with which an answer ended. */
  ended(answer, status) {
    const turn = this.of(answer);
    if (turn) turn.status = status;
  }

  of(answer) { return this.all.find((one) => one.answer === answer); }
}

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
