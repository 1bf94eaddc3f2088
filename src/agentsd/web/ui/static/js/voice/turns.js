// How long each turn took, as this page saw it: from the end of speech, or from sending a text.

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

  /** A text was sent. */
  wrote() { this.all.push(blank("written", this.now())); }

  /** The server noticed that the speech `item` had ended, at `from` on this page's clock. */
  spoke(item, from) { this.all.push({ ...blank("spoken", from), item, noticed: this.now() - from }); }

  /** The whole transcript of `item` is there. */
  transcribed(item) {
    const turn = this.all.find((one) => one.item === item);
    if (turn) turn.heard = this.now() - turn.from;
  }

  /** An answer began: it is for the last turn, unless that has one (a greeting is for none). */
  answered(answer, agent) {
    const turn = this.all.at(-1);
    if (turn && turn.answer === null) Object.assign(turn, { answer, agent });
  }

  /** Its first word came. */
  word(answer) {
    const turn = this.of(answer);
    if (turn) turn.token ??= this.now() - turn.from;
  }

  /** Its first sound came, and will be heard in `ms`. */
  sounded(answer, ms) {
    const turn = this.of(answer);
    if (turn) turn.sound ??= this.now() + ms - turn.from;
  }

  /** It ended so. */
  ended(answer, status) {
    const turn = this.of(answer);
    if (turn) turn.status = status;
  }

  of(answer) { return this.all.find((one) => one.answer === answer); }
}

const KEPT_MS = 120_000;

/** When which part of the sound was sent: the server counts in ms of sound, this page in ms of its clock. */
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

  /** The clock's time at `ms` of sound. */
  at(ms, now) {
    const after = this.marks.find(([end]) => end >= ms);
    return after ? after[1] - (after[0] - ms) : now;
  }
}
