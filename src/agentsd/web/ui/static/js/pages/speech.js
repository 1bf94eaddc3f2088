import { Player } from "../audio/player.js";
import { spoken } from "../audio/spoken.js";
import { chosen, onChoice } from "../choice.js";
import { isNullish } from "../data.js";
import { byId, fill, h } from "../dom.js";
import { count } from "../format.js";
import { notice } from "../marks.js";
import { boot } from "../shell.js";
import { lacking } from "../speech/lacking.js";
import { resultView } from "../speech/result.js";
import { barred } from "../voice/organs.js";

const MOST = 16384; // characters; the server's own limit
const SECTION = "tts:\n  provider: piper.local\n";
const NAMES = {
  provider: "Vendor", voice: "Voice", voice_id: "Voice", model: "Model", model_id: "Model", language: "Language",
  speed: "Speed", sample_rate: "Rate", url: "Address", api_url: "Address",
};

await boot();

const [say, stop] = ["say", "stop"].map((id) => byId(id, HTMLButtonElement));
const field = byId("text", HTMLTextAreaElement);
const state = byId("state");
const result = resultView();
byId("result").append(result.element);
let under = null; // the request in progress, or still playing: {abort, player}

byId("speak").addEventListener("submit", (event) => { event.preventDefault(); speak(); });
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("speak", HTMLFormElement).requestSubmit();
});
field.addEventListener("input", counted);
stop.addEventListener("click", () => { halt(); tell("Stopped"); });
onChoice(draw);
counted();
draw();

async function speak() {
  const input = field.value;
  if (!input.trim() || input.length > MOST) { field.focus(); return; }
  halt();
  const mine = (under = begun());
  fill(byId("errors"));
  result.clear();
  tell("Waiting for the voice…");
  try {
    const whole = await spoken({
      agent: mine.agent, input, signal: mine.abort.signal,
      onBegin: (told) => began(mine, told), onSamples: (samples) => sounded(mine, samples),
    });
    if (under === mine) finished(mine, whole);
  } catch (problem) {
    if (under === mine) failed(problem);
  }
}

/**
 * One request: its times in ms since `from`, and what it made so far. Its player is made in the handler of the click,
 * since browsers start sound only there.
 */
function begun() {
  return {
    agent: chosen().slug, abort: new AbortController(), player: playerAt(likelyRate(), null), whole: false,
    from: performance.now(), times: { byte: null, sound: null, total: null },
    made: { samples: 0, rate: 0, agent: null },
  };
}

const since = (mine, ms = 0) => performance.now() + ms - mine.from;

function began(mine, { rate, reply }) {
  mine.times.byte = since(mine);
  Object.assign(mine.made, {
    rate, agent: `${reply.headers.get("X-Agent") ?? mine.agent} v${reply.headers.get("X-Agent-Version") ?? "?"}`,
  });
  mine.player = playerAt(rate, mine.player);
  mine.player.onIdle = () => idle(mine);
  tell("Speaking");
}

function sounded(mine, samples) {
  const ms = mine.player.push(samples);
  mine.times.sound ??= since(mine, ms);
  mine.made.samples += samples.length;
  if (under === mine) result.show(mine.times, mine.made);
}

function finished(mine, whole) {
  mine.times.total = since(mine);
  mine.whole = true;
  result.show(mine.times, mine.made);
  if (whole.samples.length) result.whole(whole, mine.agent);
  idle(mine);
}

function failed(problem) {
  halt();
  tell("");
  const broken = { message: "the voice broke off", hint: "the vendor or the connection failed: try again" };
  fill(byId("errors"), notice(problem.status === undefined ? broken : problem));
}

const likelyRate = () => Number(chosen().tts_provider_config?.sample_rate) || 24000;

/** Return a player at `rate`; the present one if it has that rate. */
function playerAt(rate, before) {
  if (before?.rate === rate) return before;
  before?.close();
  return new Player(rate);
}

/** End a request of which all came and was played. */
function idle(mine) {
  if (under !== mine || !mine.whole || mine.player.playing) return;
  halt();
  tell("Done");
}

function halt() {
  const was = under;
  under = null;
  was?.abort.abort();
  was?.player.close();
  draw();
}

function tell(text) {
  fill(state, text);
  draw();
}

function counted() {
  const size = field.value.length;
  fill(byId("count"), `${count(size)} of ${count(MOST)} characters`);
  byId("count").className = size > MOST ? "error" : "help";
  field.setAttribute("aria-invalid", String(size > MOST));
}

function draw() {
  const agent = chosen();
  const config = agent.tts_provider_config ?? {};
  const bar = barred(agent);
  say.disabled = Boolean(bar) || !config.provider;
  if (under === null && document.activeElement === stop) say.focus(); // a disabled button loses it
  stop.disabled = under === null;
  byId("voice-card").hidden = !config.provider;
  fill(byId("voice"),
    Object.entries(NAMES)
      .filter(([key]) => !isNullish(config[key]))
      .map(([key, name]) => [h("dt", {}, name), h("dd", {}, String(config[key]))]));
  fill(byId("lacks"),
    bar ? h("p.notice.warn", {}, bar) : config.provider ? null : lacking("This agent has no voice.", SECTION));
}
