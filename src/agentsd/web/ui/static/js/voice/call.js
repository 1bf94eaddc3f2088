// A call: the server's events become sound, transcript and times; speech and texts are sent to it.

import { fromBase64, packed, toBase64, Unpacker } from "../audio/pcm.js";
import { Player } from "../audio/player.js";
import { Ears, RATE } from "./ears.js";
import { dial } from "./line.js";
import { organsOf } from "./organs.js";
import { Timeline, Turns } from "./turns.js";

const SWITCH = "switch";
const QUIET = /^(truncate|retrieve|cancel):/; // requests that may come too late: their errors are ignored

/** @import { Agent } from "../choice.js" */
/** @import { OpenLine } from "./line.js" */
/** @import { Transcript } from "./transcript.js" */

/**
 * The page of a call.
 * @typedef {object} View
 * @property {Transcript} transcript
 * @property {() => void} changed
 * @property {(level: number) => void} level
 * @property {(report: any) => void} turned a turn has ended
 * @property {(problem: any) => void} failed null: the problem is over
 * @property {(problem: any) => void} ended null: the caller hung up
 * @property {() => void} lostMicrophone
 */

/** One call, from dialling to its end. */
export class Call {
  /** @type {OpenLine | null} */
  line = null;
  /** @type {any} as the server describes it */
  session = null;
  /** @type {{ id: string, item: string, ms: number, unpacker: Unpacker } | null} the answer that is heard */
  answer = null;
  /** @type {string | null} the answer that the server makes */
  active = null;
  served = ""; // the agent that answers: a slug and a version
  /** @type {Agent | null} the agent before the call was handed over */
  before = null;
  speaking = false; // the caller is
  waiting = false; // for an answer to what was spoken
  gone = false; // the call is over
  wanted = false; // a microphone is
  sampling = false; // the sample recording is played
  /** @type {number | null} when it was answered, and when it ended, on this page's clock */
  since = null;
  /** @type {number | null} */
  until = null;
  silenced = new Set(); // answers that were cut short here
  turns = new Turns();
  timeline = new Timeline();

  /**
   * @param {Agent} agent
   * @param {View} view
   * @param {{ aloud?: boolean }} [options] aloud: it answers with sound, not only in writing
   */
  constructor(agent, view, { aloud = true } = {}) {
    this.agent = agent;
    this.view = view;
    this.aloud = aloud;
    this.settle = () => {};
    /** @type {Promise<void>} */
    this.greeted = new Promise((resolve) => { this.settle = resolve; });
    this.player = new Player(RATE, { onIdle: () => this.quiet() });
    this.ears = new Ears({
      onBlock: (samples) => this.append(samples), onLevel: view.level, onLost: view.lostMicrophone,
    });
  }

  get open() { return this.line !== null; }

  /** How long it has lasted, in seconds. */
  get seconds() { return this.since === null ? 0 : ((this.until ?? performance.now()) - this.since) / 1000; }

  /** The activity: "you", "agent", "thinking" or "quiet". */
  get doing() {
    if (this.speaking) return "you";
    if (this.player.playing) return "agent";
    return this.active || this.waiting ? "thinking" : "quiet";
  }

  /** Dial. Throws a `Problem` where the server refuses the call. */
  async start() {
    const line = await dial(this.agent.slug, {
      onEvent: (event) => this.take(event), onClose: (problem) => this.over(problem),
    });
    if (this.gone) return line.hangUp();
    this.line = line;
    this.since = performance.now();
    this.speakOrWrite(this.aloud);
    this.view.changed();
  }

  hangUp() { this.line?.hangUp(); this.over(null); }

  over(problem) {
    if (this.gone) return;
    this.gone = true;
    this.until = performance.now();
    this.settle();
    this.line = null;
    this.ears.close();
    this.player.close();
    this.view.ended(problem);
  }

  send(event) { return this.line?.send(event) ?? false; }

  // To the server

  append(samples) {
    if (!this.open) return;
    // silence: a turn that began still ends
    const heard = organsOf(this.agent).stt ? samples : new Int16Array(samples.length);
    if (!heard.length || !this.send({ type: "input_audio_buffer.append", audio: toBase64(packed(heard)) })) return;
    this.timeline.sent((heard.length / RATE) * 1000, performance.now());
  }

  /** Send a text instead of speech, and interrupt the agent. */
  write(text) {
    const id = `item_${crypto.getRandomValues(new Uint32Array(4)).join("")}`.slice(0, 40);
    if (this.active || this.waiting) this.send({ type: "response.cancel", event_id: "cancel:" });
    this.hush();
    this.waiting = true;
    this.view.transcript.open(id, "You", "you");
    this.view.transcript.whole(id, text);
    this.send({
      type: "conversation.item.create",
      item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] },
    });
    this.turns.wrote();
    this.send({ type: "response.create" });
    this.view.changed();
  }

  /** Send sound to the loudspeaker of that id from now on. */
  route(speaker) { this.player.route(speaker); }

  speakOrWrite(aloud) {
    this.aloud = aloud;
    const session = { type: "realtime", output_modalities: [aloud ? "audio" : "text"], include: ["agentsd.turn"] };
    this.send({ type: "session.update", session });
  }

  /** Let another agent answer from the next turn on. */
  handOver(agent) {
    this.before = this.agent;
    this.agent = agent;
    this.send({ type: "session.update", event_id: SWITCH, session: { type: "realtime", model: agent.slug } });
  }

  /** Play the sample recording; in a call that has just begun, after the greeting. */
  async playSample({ fresh = false } = {}) {
    if (fresh && this.agent.greeting) await this.greeted;
    const detection = this.session?.audio.input.turn_detection;
    const silence = Math.max(detection?.silence_duration_ms ?? 500, detection?.wait_ms?.unsure ?? 0);
    if (this.open) await this.ears.playSample(silence);
  }

  /** Stop playing at once; report how much of the answer was played, and ask what the server keeps of it. */
  hush() {
    const { answer } = this;
    if (!answer || this.silenced.has(answer.id) || !(this.player.playing || this.active === answer.id)) return;
    this.silenced.add(answer.id);
    const played = Math.round(Math.min(this.player.playedMs, answer.ms));
    this.player.stop();
    if (answer.ms > 0) {
      this.send({
        type: "conversation.item.truncate", event_id: `truncate:${answer.item}`, item_id: answer.item, content_index: 0,
        audio_end_ms: played,
      });
    }
    this.keptOf(answer.item);
  }

  keptOf(item) { this.send({ type: "conversation.item.retrieve", event_id: `retrieve:${item}`, item_id: item }); }

  // From the server

  take(event) {
    const handler = HANDLERS[event.type];
    if (!handler || this.gone) return;
    handler(this, event);
    this.quiet();
  }

  /** Redraw; once a first answer, a greeting, was played to its end, `greeted` resolves. */
  quiet() {
    if (this.answer && this.doing === "quiet") this.settle();
    this.view.changed();
  }

  failed(error) {
    const id = error.event_id ?? "";
    if (id.startsWith("retrieve:")) this.view.transcript.unheard(id.slice(9), "");
    if (QUIET.test(id)) return;
    this.settle();
    if (id === SWITCH) {
      this.agent = this.before;
      error = { ...error, hint: `the call goes on with ${this.agent.slug}` };
    }
    if (!this.active) this.waiting = false; // a turn that failed before its answer began
    this.view.failed(error);
  }

  began({ response }) {
    const { transcript } = this.view;
    const serves = `${response.agent} v${response.agent_version}`;
    if (serves !== this.served) {
      transcript.note(this.served ? "now answered by " : "answered by ",
        transcript.code(response.agent), ` v${response.agent_version}`);
    }
    Object.assign(this, { served: serves, active: response.id, waiting: false });
    this.turns.answered(response.id, serves);
    this.view.failed(null); // clear an earlier problem
  }

  placed({ response_id: id, item }) {
    this.answer = { id, item: item.id, ms: 0, unpacker: new Unpacker() };
    this.player.begin();
    this.view.transcript.open(item.id, this.served.replace(/ v\d+$/, ""), "agent");
  }

  word({ response_id: id, item_id: item, delta }) {
    this.turns.word(id);
    this.view.transcript.more(item, delta);
  }

  sound({ response_id: id, delta }) {
    if (this.silenced.has(id) || this.answer?.id !== id) return;
    const samples = this.answer.unpacker.take(fromBase64(delta));
    this.answer.ms += (samples.length / RATE) * 1000;
    this.turns.sounded(id, this.player.push(samples));
  }

  done({ response }) {
    const item = response.output.find(({ type }) => type === "message")?.id;
    this.view.transcript.called(response.output.filter(({ type }) => type === "function_call"));
    const cancelled = response.status === "cancelled";
    if (cancelled) this.hush();
    this.active = null;
    if (item) this.view.transcript.whole(item, null, cancelled ? "interrupted" : "no words");
    if (item && cancelled && !this.silenced.has(response.id)) this.keptOf(item);
    if (response.status === "failed") this.failed(response.status_details.error);
  }

  heardSpeech({ item_id: item }) {
    this.speaking = true;
    if (this.session?.audio.input.turn_detection?.interrupt_response !== false) this.hush();
    this.view.transcript.open(item, "You", "you");
  }

  heardSilence({ item_id: item, audio_end_ms: end }) {
    const now = performance.now();
    Object.assign(this, { speaking: false, waiting: true });
    const detection = this.session?.audio.input.turn_detection;
    const silence = detection?.wait_ms?.sure ?? detection?.silence_duration_ms ?? 0;
    this.turns.spoke(item, this.timeline.at(end - silence, now));
  }

  understood({ item_id: item, transcript }) {
    this.turns.transcribed(item);
    this.view.transcript.whole(item, transcript, "no words");
    if (!transcript) this.waiting = false;
  }
}

const AUDIO = "conversation.item.input_audio_transcription";
const HANDLERS = {
  "session.created": (call, { session }) => { call.session = session; },
  "session.updated": (call, { session }) => { call.session = session; },
  "input_audio_buffer.speech_started": (call, event) => call.heardSpeech(event),
  "input_audio_buffer.speech_stopped": (call, event) => call.heardSilence(event),
  [`${AUDIO}.delta`]: (call, { item_id: item, delta }) => call.view.transcript.more(item, delta),
  [`${AUDIO}.completed`]: (call, event) => call.understood(event),
  [`${AUDIO}.failed`]: (call, { item_id: item, error }) => {
    call.waiting = false;
    call.view.transcript.whole(item, null, "not understood");
    call.failed(error);
  },
  "response.created": (call, event) => call.began(event),
  "response.output_item.added": (call, event) => { if (event.item.type === "message") call.placed(event); },
  "response.output_audio_transcript.delta": (call, event) => call.word(event),
  "response.output_text.delta": (call, event) => call.word(event),
  "response.output_audio.delta": (call, event) => call.sound(event),
  "response.done": (call, event) => call.done(event),
  "conversation.item.retrieved": (call, { item }) => {
    if (item.role === "assistant") {
      call.view.transcript.unheard(item.id, item.content[0].transcript ?? item.content[0].text ?? "");
    }
  },
  "agentsd.answer.discarded": (call, { answer }) => call.view.transcript.discarded(answer.text),
  "agentsd.turn.done": (call, { turn }) => { call.turns.reported(turn); call.view.turned(turn); },
  error: (call, { error }) => call.failed(error),
};
