import { meter } from "../audio/meter.js";
import { chosen, onChoice } from "../choice.js";
import { byId, fill, h } from "../dom.js";
import { notice } from "../marks.js";
import { boot } from "../shell.js";
import { Call } from "../voice/call.js";
import { latencyTable } from "../voice/latency.js";
import { barred, lacks, organsOf } from "../voice/organs.js";
import { Transcript } from "../voice/transcript.js";

const DOING = { you: "You speak", agent: "The agent speaks", thinking: "The agent thinks" };
const NAMES = { llm: "Thinks with", tts: "Speaks with", stt: "Listens with" };

await boot();

/** @type {Call | null} */
let call = null;
let dialling = false;
const transcript = new Transcript();
const latency = latencyTable();
const level = meter("Microphone level");
const [button, mute, sample, send] = ["call", "mute", "sample", "send"].map((id) => byId(id, HTMLButtonElement));
const [field, aloud] = ["text", "aloud"].map((id) => byId(id, HTMLInputElement));

fill(byId("transcript"), transcript.element);
fill(byId("latency"), latency.element);
fill(byId("level"), level.element);
latency.show([]);

button.addEventListener("click", () => (call ? call.hangUp() : start({ microphone: true })));
mute.addEventListener("click", muting);
sample.addEventListener("click", saySample);
byId("write").addEventListener("submit", write);
aloud.addEventListener("change", () => call?.speakOrWrite(aloud.checked));
byId("clear").addEventListener("click", () => { transcript.clear(); draw(); button.focus(); });
addEventListener("pagehide", () => call?.hangUp());
onChoice(another);
draw();

/** Start a call if there is none; returns whether there is one. */
async function start({ microphone }) {
  if (dialling || call) return call !== null;
  dialling = true;
  fill(byId("notices"));
  fill(byId("device"));
  transcript.another();
  latency.show([]);
  const mine = (call = new Call(chosen(), view(), { aloud: aloud.checked }));
  draw();
  try {
    await mine.start();
    if (chosen().id !== mine.agent.id) mine.handOver(chosen()); // chosen meanwhile
    if (microphone) await useMicrophone();
  } catch (problem) {
    mine.over(problem);
  }
  dialling = false;
  draw();
  return call === mine;
}

function view() {
  return {
    transcript, level: level.show, changed: draw,
    failed: (error) => fill(byId("notices"), error && notice(error)),
    ended: over,
    lostMicrophone: () => noMicrophone({ message: "the microphone was removed", hint: "connect it again, or write" }),
  };
}

function over(problem) {
  latency.show(call.turns.all);
  if (call.session) transcript.note("the call is over");
  call = null;
  if (problem) fill(byId("notices"), notice(problem));
  draw();
  if (document.activeElement === document.body) button.focus();
}

/** Open the microphone; the call goes on without one. */
async function useMicrophone() {
  if (call) call.wanted = true;
  if (!call || !organsOf(call.agent).stt) return;
  fill(byId("device"));
  try {
    await call.ears.open();
  } catch (problem) {
    noMicrophone(problem);
  }
  draw();
}

function noMicrophone({ message, hint }) {
  fill(byId("device"),
    notice({ message, hint: `${hint}. Without it you can write, or use the sample recording.` }, "warn"));
}

function muting() {
  if (!call.ears.microphone) return useMicrophone();
  call.ears.muted = !call.ears.muted;
  return draw();
}

async function saySample() {
  const fresh = call === null;
  if (!(await start({ microphone: false })) || call.sampling) return;
  const mine = call;
  mine.sampling = true;
  if (document.activeElement === sample) button.focus(); // a disabled button loses it
  draw();
  try { await mine.playSample({ fresh }); } catch (problem) { fill(byId("notices"), notice(problem)); }
  mine.sampling = false;
  draw();
}

async function write(event) {
  event.preventDefault();
  const text = field.value.trim();
  if (!text || !(await start({ microphone: false }))) return;
  field.value = "";
  call.write(text);
}

/** Another agent was chosen, or it is another version now: the call stays. */
function another(agent, before) {
  if (call) {
    const other = agent.id !== before.id;
    if (!other && call.agent.id === agent.id) call.agent = agent;
    if (other && call.open) call.handOver(agent);
    if (other && call.open && call.wanted && !call.ears.microphone) useMicrophone();
  }
  draw();
}

function draw() {
  const agent = chosen();
  byId("clear").hidden = call !== null || !transcript.list.childElementCount;
  const stop = barred(agent);
  const listens = Boolean(organsOf(agent).stt);
  button.textContent = call ? "Hang up" : byId("notices").childElementCount ? "Call again" : "Start a call";
  button.classList.toggle("danger", call !== null);
  button.classList.toggle("primary", call === null);
  button.disabled = !call && Boolean(stop);
  mute.hidden = !call?.open || !listens;
  byId("levels").hidden = !listens;
  mute.textContent = !call?.ears.microphone ? "Turn on the microphone" : call.ears.muted ? "Unmute" : "Mute";
  sample.disabled = !listens || Boolean(call?.sampling) || (!call && Boolean(stop));
  send.disabled = !call && Boolean(stop);
  status();
  fill(byId("lacks"),
    stop
      ? h("p.notice.warn", {}, stop)
      : lacks(agent).length ? h("ul.notice.warn.lacks", {}, lacks(agent).map((one) => h("li", {}, one))) : null);
  facts(agent);
  if (call) latency.show(call.turns.all);
}

function status() {
  const text = !call ? "Not in a call" : !call.open ? "Calling…" : DOING[call.doing] ?? quiet();
  const shown = byId("status");
  if (shown.textContent === text) return;
  fill(shown, text);
  shown.className = `badge ${call?.open ? (call.doing === "quiet" ? "good" : "accent") : ""}`;
}

function quiet() {
  if (!call.ears.microphone || !organsOf(call.agent).stt) return "Waiting for you";
  return call.ears.muted ? "Muted" : "Listening";
}

function facts(agent) {
  const organs = organsOf(agent);
  fill(byId("organs"),
    Object.entries(NAMES).map(([part, name]) => [
      h("dt", {}, name), h("dd", {}, organs[part] || h("span.soft", {}, "–")),
    ]));
}
