import { meter } from "../audio/meter.js";
import { chosen, onChoice } from "../choice.js";
import { byId, fill, h } from "../dom.js";
import { newEntryId } from "../kept.js";
import { notice, sentence } from "../marks.js";
import { boot } from "../shell.js";
import { turnList } from "../voice/bars.js";
import { Call } from "../voice/call.js";
import { Calls, clockOf } from "../voice/calls.js";
import { Devices } from "../voice/devices.js";
import { askedCall, CallHistory, setAddress } from "../voice/history.js";
import { barred, lacks, organsOf } from "../voice/organs.js";
import { pickers } from "../voice/pickers.js";
import { Transcript } from "../voice/transcript.js";
import { keptTurn } from "../voice/turns.js";

const DOING = { you: "You speak", agent: "The agent speaks", thinking: "The agent thinks" };
const NAMES = { llm: "Thinks with", tts: "Speaks with", stt: "Listens with" };
const TICK_MS = 100;
const LOST_AGAIN_MS = 1000; // a microphone that ends sooner after another one is not replaced

const session = await boot();

/** @type {Call | null} */
let call = null;
let kept = null; // what does not change of the call that is kept
let dialling = false;
let lostAt = -Infinity;
const transcript = new Transcript();
const turns = turnList();
const level = meter("Microphone level");
const agentLevel = meter("Agent level");
const calls = new Calls(`${session.user}/${session.name}`);
const past = new CallHistory(byId("calls"), calls);
const devices = new Devices(refit);
const picked = pickers(devices);
const [button, mute, sample, send] = ["call", "mute", "sample", "send"].map((id) => byId(id, HTMLButtonElement));
const [field, aloud] = ["text", "aloud"].map((id) => byId(id, HTMLInputElement));

const parts = { transcript, turns, level, "agent-level": agentLevel, devices: picked };
for (const [id, { element }] of Object.entries(parts)) fill(byId(id), element);

button.addEventListener("click", () => (call ? call.hangUp() : start({ microphone: true })));
mute.addEventListener("click", muting);
sample.addEventListener("click", saySample);
byId("write").addEventListener("submit", write);
aloud.addEventListener("change", () => call?.speakOrWrite(aloud.checked));
byId("clear").addEventListener("click", () => { transcript.clear(); draw(); button.focus(); });
addEventListener("pagehide", () => call?.hangUp());
onChoice(another);
setInterval(tick, TICK_MS);
devices.look();
draw();
openAsked();

/** Start a call if there is none; returns whether there is one. */
async function start({ microphone }) {
  if (dialling || call) return call !== null;
  dialling = true;
  fill(byId("notices"));
  fill(byId("device"));
  transcript.another();
  turns.show([]);
  const { slug, name } = chosen();
  kept = { id: newEntryId(), slug, name, began: Date.now() };
  const mine = (call = new Call(chosen(), view(), { aloud: aloud.checked }));
  mine.route(devices.use("speaker"));
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
    turned: ({ tools }) => { transcript.called(tools); keep("It goes on."); },
    failed: (error) => fill(byId("notices"), error && notice(error)),
    ended: over, lostMicrophone,
  };
}

function over(problem) {
  turns.show(call.turns.all);
  tick();
  agentLevel.show(0);
  keep(problem ? `${sentence(problem.message)}.` : "You hung up.");
  if (call.session) transcript.note("the call is over");
  call = null;
  if (problem) fill(byId("notices"), notice(problem));
  draw();
  if (document.activeElement === document.body) button.focus();
}

/** Keep the call in this browser, once something was said. */
function keep(end) {
  const entries = transcript.kept;
  if (!entries.some(({ role }) => role !== "note")) return;
  calls.save({ ...kept, seconds: call.seconds, end, entries, turns: call.turns.all.map(keptTurn) });
  past.draw();
}

/** Show the call that the address names. */
async function openAsked() {
  const id = askedCall();
  if (!id || (await past.open(id))) return;
  setAddress(null);
  const hint = "calls are kept only in the browser that made them, the last ten, until they are deleted";
  fill(byId("notices"), notice({ message: "this browser does not have that call", hint }, "warn"));
}

function tick() {
  if (!call?.open && !call?.gone) return;
  agentLevel.show(call.player.level);
  const shown = clockOf(call.seconds);
  if (byId("timer").textContent !== shown) byId("timer").textContent = shown;
}

// Devices

/** Open the microphone; the call goes on without one. */
async function useMicrophone() {
  if (call) call.wanted = true;
  if (!call || !organsOf(call.agent).stt) return;
  fill(byId("device"));
  try {
    await call.ears.open(devices.use("microphone"));
  } catch (problem) {
    noMicrophone(problem);
  }
  await devices.look(); // browsers name the devices from now on
  draw();
}

function noMicrophone({ message, hint }) {
  fill(byId("device"),
    notice({ message, hint: `${hint}. Without it you can write, or use the sample recording.` }, "warn"));
}

/** The microphone was removed: go on with the system's own, if there is another one. */
async function lostMicrophone() {
  const again = performance.now() - lostAt < LOST_AGAIN_MS;
  lostAt = performance.now();
  await devices.look();
  try {
    if (again) throw new Error("the next one ended, too");
    await call?.ears.open(devices.use("microphone"));
    if (!byId("device").childElementCount) {
      const hint = "the call goes on with the system's own choice";
      fill(byId("device"), notice({ message: "the microphone was removed", hint }, "warn"));
    }
  } catch {
    noMicrophone({ message: "the microphone was removed", hint: "connect it again, or write" });
  }
  draw();
}

/** Use the chosen devices that are connected; name those that are `lost`. */
function refit(lost) {
  picked.draw();
  call?.route(devices.use("speaker"));
  const moved = call?.ears.microphone && call.ears.device !== devices.use("microphone");
  if (moved) call.ears.open(devices.use("microphone")).catch(noMicrophone).finally(draw);
  const missing = devices.kinds.some((kind) => devices.missing(kind));
  if (!missing) byId("device").querySelector("[data-lost]")?.remove();
  if (!lost.length) return;
  fill(byId("device"), h("div.notice.warn", { role: "alert", dataset: { lost: "" } },
    lost.map(({ label }) => h("p", {}, `“${label}” is not connected.`)),
    h("p.hint", {}, "The system's own choice is used until it is.")));
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
  byId("agent-levels").hidden = !organsOf(agent).tts;
  mute.textContent = !call?.ears.microphone ? "Turn on the microphone" : call.ears.muted ? "Unmute" : "Mute";
  sample.disabled = !listens || Boolean(call?.sampling) || (!call && Boolean(stop));
  send.disabled = !call && Boolean(stop);
  status();
  fill(byId("lacks"),
    stop
      ? h("p.notice.warn", {}, stop)
      : lacks(agent).length ? h("ul.notice.warn.lacks", {}, lacks(agent).map((one) => h("li", {}, one))) : null);
  facts(agent);
  if (call) turns.show(call.turns.all);
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
