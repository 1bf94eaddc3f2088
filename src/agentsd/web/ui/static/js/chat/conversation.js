// The open conversation: its turns, and the answer that is coming.

import { chosen } from "../choice.js";
import { h } from "../dom.js";
import { toast } from "../dialogs.js";
import { noteCall } from "./calls.js";
import { ask } from "./stream.js";
import { fresh, messagesOf, titleOf } from "./store.js";
import { Answer, greeting, Question } from "./transcript.js";

const KEEP_MS = 2000;

/** @import { Kept, Store, Turn } from "./store.js" */

/**
 * The callbacks of a conversation.
 * @typedef {object} Work
 * @property {(coming: boolean) => void} coming an answer begins to come, or has ended
 * @property {() => void} drawn the transcript was redrawn
 * @property {(id: string) => void} kept
 * @property {(text: string) => void} edit
 * @property {(text: string) => void} say for screen readers
 */

/** `place` holds the transcript. */
export class Conversation {
  data = fresh();
  /** @type {AbortController | null} */
  coming = null;
  /** @type {WeakMap<Turn, Question | Answer>} */
  views = new WeakMap();

  /**
   * @param {HTMLElement} place
   * @param {Store} store
   * @param {Work} work
   */
  constructor(place, store, work) {
    this.place = place;
    this.store = store;
    this.work = work;
  }

  /** Show another one, or a new one (null). An answer that is coming is stopped; its text so far is kept. */
  open(data) {
    this.stop();
    this.coming = null;
    this.work.coming(false);
    this.data = data ?? fresh();
    for (const turn of this.data.turns) if (turn.state === "coming") turn.state = "stopped"; // the page was left
    this.draw();
  }

  /** Draw the turns; elements that are already in place are not touched. */
  draw() {
    const { turns } = this.data;
    const nodes = turns.length ? turns.flatMap((turn, at) => this.view(turn, at).nodes) : [greeting(chosen())];
    let same = 0;
    while (same < nodes.length && nodes[same] === this.place.childNodes[same]) same += 1;
    while (this.place.childNodes.length > same) this.place.lastChild.remove();
    this.place.append(...nodes.slice(same));
    const asked = turns.findLastIndex((turn) => turn.role === "user");
    turns.forEach((turn, at) => {
      const last = turn.role === "user" ? asked : turns.length - 1;
      this.view(turn, at).end(!this.coming && at === last);
    });
    this.work.drawn();
  }

  view(turn, at) {
    const known = this.views.get(turn);
    if (known) return known;
    if (turn.role !== "user") return this.answer(turn, at);
    const view = new Question(turn, { edit: this.work.edit });
    this.views.set(turn, view);
    return view;
  }

  /** Make the view of an answer. */
  answer(turn, at) {
    const view = new Answer(turn, { retry: () => this.retry(), drawn: this.work.drawn });
    this.views.set(turn, view);
    view.name(this.before(at));
    if (turn.state !== "coming") view.settle();
    return view;
  }

  /** The last answer before the turn `at` whose agent is known. */
  before(at) { return this.data.turns.slice(0, at).findLast((turn) => turn.role === "assistant" && turn.agent); }

  /** Ask; `edited`: in place of the last question. */
  send(text, edited = false) {
    const { turns } = this.data;
    if (edited) turns.splice(turns.findLastIndex((turn) => turn.role === "user"));
    if (!this.data.title) this.data.title = titleOf(text);
    turns.push({ role: "user", text });
    return this.next();
  }

  /** Ask the last question again, of the present agent. */
  retry() {
    if (this.coming) return undefined;
    this.data.turns.splice(this.data.turns.findLastIndex((turn) => turn.role === "user") + 1);
    return this.next();
  }

  /** Stop the answer that is coming; its text so far stays. */
  stop() { this.coming?.abort(); }

  async next() {
    const { data } = this;
    const messages = messagesOf(data.turns);
    const turn = {
      role: "assistant", text: "", agent: "", version: 0, state: "coming", citations: [], calls: [],
      first: null, total: null,
    };
    const coming = new AbortController();
    this.coming = coming;
    data.turns.push(turn);
    this.draw();
    const answer = /** @type {Answer} */ (this.view(turn, data.turns.length - 1));
    answer.begin();
    this.work.coming(true);
    this.keep(data, true);
    await this.run(data, turn, messages, coming.signal);
    const current = this.coming === coming;
    if (current) this.coming = null;
    if (current) this.work.coming(false);
    this.keep(data);
    await answer.settle();
    if (this.data === data) this.ended(turn, answer);
  }

  async run(data, turn, messages, signal) {
    const begun = performance.now();
    try {
      await ask(chosen().slug, messages, data.id, signal, this.listener(data, turn, begun));
      turn.state = "done";
    } catch (problem) {
      turn.state = problem.name === "AbortError" ? "stopped" : "failed";
      if (turn.state === "failed") turn.problem = { message: problem.message, hint: problem.hint ?? "" };
    }
    turn.total = performance.now() - begun;
  }

  listener(data, turn, begun) {
    const answer = /** @type {Answer} */ (this.views.get(turn));
    let kept = begun;
    return {
      agent: (slug, version) => {
        Object.assign(turn, { agent: slug, version });
        answer.name(data.turns.slice(0, -1).findLast((one) => one.role === "assistant" && one.agent));
        if (this.data === data) this.draw();
        this.work.say(answer.note ? answer.note.textContent : `${slug} answers.`);
      },
      citations: (list) => { turn.citations = list; },
      call: (call) => {
        noteCall(turn.calls, call);
        answer.showCalls();
        if (call.status === "in_progress") this.work.say(`${call.name} is running.`);
      },
      text: (piece) => {
        const now = performance.now();
        turn.first ??= now - begun;
        turn.text += piece;
        answer.write();
        if (now - kept < KEEP_MS) return;
        kept = now;
        this.keep(data);
      },
    };
  }

  ended(turn, answer) {
    this.draw();
    const all = h("div", {}, answer.body.textContent, turn.state === "stopped" ? " Stopped." : "").textContent;
    if (turn.state !== "failed") this.work.say(all); // the notice of a failure is an alert already
  }

  /** Keep it as it is now, if it is still kept (or `anew`): it may have been deleted, or its user signed out. */
  keep(data = this.data, anew = false) {
    const known = this.store.find(data.id);
    if (!known && !anew) return;
    if (known) data.title = known.title; // it may have been renamed
    if (!this.store.save(data) && anew) {
      toast("This browser does not store conversations: it is out of space, or storage is blocked.", "bad");
    }
    this.work.kept(data.id);
  }
}
