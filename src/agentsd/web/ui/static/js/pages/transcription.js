import { meter } from "../audio/meter.js";
import { sampleFile } from "../audio/wav.js";
import { chosen, onChoice } from "../choice.js";
import { isNullish } from "../data.js";
import { byId, fill, h } from "../dom.js";
import { notice } from "../marks.js";
import { boot } from "../shell.js";
import { lacking } from "../speech/lacking.js";
import { Recorder } from "../transcription/recorder.js";
import { ofBlocks, ofFile } from "../transcription/recording.js";
import { resultView } from "../transcription/result.js";
import { transcribe } from "../transcription/upload.js";
import { barred, organsOf } from "../voice/organs.js";

const NAMES = {
  provider: "Vendor", model: "Model", model_id: "Model", language: "Language", url: "Address", api_url: "Address",
};
const SECTION = "stt:\n  provider: moonshine.local\n";

await boot();

const [record, sample, stop] = ["record", "sample", "stop"].map((id) => byId(id, HTMLButtonElement));
const [drop, state, timer] = ["drop", "state", "timer"].map((id) => byId(id));
const picker = byId("file", HTMLInputElement);
const level = meter("Microphone level");
const result = resultView();
let recorder = null;
let under = null; // the request in progress

byId("level").append(level.element);
byId("result").append(result.element);
record.addEventListener("click", () => (recorder ? finish() : begin()));
sample.addEventListener("click", () => hear(sampled));
stop.addEventListener("click", () => under?.abort());
picker.addEventListener("change", () => { if (picker.files.length) chosenFile(picker.files[0]); picker.value = ""; });
for (const kind of ["dragover", "dragleave", "drop"]) drop.addEventListener(kind, dragged);
// a file beside the field must not open
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
addEventListener("pagehide", () => recorder?.stop());
onChoice(draw);
draw();

function dragged(event) {
  event.preventDefault();
  drop.classList.toggle("over", event.type === "dragover");
  if (event.type === "drop" && !picker.disabled && event.dataTransfer.files.length) {
    chosenFile(event.dataTransfer.files[0]);
  }
}

const chosenFile = (file) => hear(() => ofFile(file));

async function sampled() {
  return ofFile(new File([await sampleFile()], "sample.wav", { type: "audio/wav" }));
}

async function begin() {
  fill(byId("errors"));
  const mine = (recorder = new Recorder({ onTime: timed, onLevel: level.show, onEnd: finish }));
  draw();
  try {
    await mine.start();
    tell("Recording");
  } catch (problem) {
    recorder = null;
    tell("");
    const hint = `${problem.hint}. You can also choose a file, or use the sample recording.`;
    fill(byId("errors"), notice({ message: problem.message, hint }, "warn"));
  }
}

function finish() {
  const blocks = recorder?.stop() ?? [];
  recorder = null;
  hear(async () => ofBlocks(blocks));
}

function timed(seconds) {
  const shown = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  if (timer.textContent !== shown) timer.textContent = shown;
}

/** Transcribe the recording that `prepare()` returns; the newest one counts. */
async function hear(prepare) {
  under?.abort();
  const mine = (under = new AbortController());
  const agent = chosen().slug;
  fill(byId("errors"));
  tell("Reading the recording…");
  try {
    const recording = await prepare();
    if (under !== mine) return;
    result.begin(`${recording.name}, ${recording.note}`);
    tell("Uploading…");
    result.done(await transcribe({ agent, ...recording, signal: mine.signal, on: watching(mine, recording) }));
    over(mine, "Done");
  } catch (problem) {
    if (under !== mine) return;
    const stopped = problem.name === "AbortError";
    over(mine, stopped ? "Stopped" : "");
    result.failed();
    if (!stopped) fill(byId("errors"), notice(problem));
  }
}

/** Times of one request, as they come. */
function watching(mine, { seconds }) {
  const begun = performance.now();
  const times = { audio: seconds, upload: null, partial: null, final: null, total: null, agent: null };
  const mark = (key) => {
    if (under !== mine) return;
    times[key] ??= performance.now() - begun;
    result.show(times);
  };
  mine.end = () => mark("total");
  return {
    sent() { mark("upload"); tell("Listening…"); },
    headers(of) { if (of("X-Agent")) times.agent = `${of("X-Agent")} v${of("X-Agent-Version")}`; },
    partial(text) { mark("partial"); if (under === mine) result.partial(text); },
    delta(text) { mark("final"); if (under === mine) result.final(text); },
  };
}

function over(mine, text) {
  if (under !== mine) return;
  if (text === "Done") mine.end();
  under = null;
  tell(text);
}

function tell(text) {
  fill(state, text);
  draw();
}

function draw() {
  const agent = chosen();
  const bar = barred(agent);
  const able = !bar && Boolean(organsOf(agent).stt);
  record.disabled = !able && !recorder;
  record.textContent = recorder ? "Stop and transcribe" : "Record";
  record.classList.toggle("danger", recorder !== null);
  record.classList.toggle("primary", recorder === null);
  byId("recording").hidden = !recorder;
  if (!recorder) timer.textContent = "0:00";
  for (const one of [sample, picker]) one.disabled = !able || recorder !== null;
  if (under === null && document.activeElement === stop) record.focus(); // what is hidden loses it
  stop.hidden = under === null;
  byId("vendor-card").hidden = !organsOf(agent).stt;
  facts(agent.stt_provider_config ?? {}, agent.language);
  fill(byId("lacks"), bar ? h("p.notice.warn", {}, bar) : able ? null : lacking("This agent cannot listen.", SECTION));
}

function facts(config, language) {
  const told = { ...config, language: config.language ?? language };
  fill(byId("vendor"),
    Object.entries(NAMES)
      .filter(([key]) => !isNullish(told[key]))
      .map(([key, name]) => [h("dt", {}, name), h("dd", {}, String(told[key]))]));
}
