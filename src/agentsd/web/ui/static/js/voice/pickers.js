// The choice of microphone and loudspeaker.

import { fill, h, newId } from "../dom.js";

/** @import { Devices } from "./devices.js" */

const LABELS = { microphone: "Microphone", speaker: "Speaker" };

/**
 * `{element, draw()}`
 * @param {Devices} devices
 */
export function pickers(devices) {
  const kinds = devices.kinds.filter((kind) => kind !== "speaker" || devices.canRoute);
  const fields = kinds.map((kind) => ({ kind, select: h("select", { id: newId(kind) }) }));
  const help = h("p.help");
  let state = "";
  for (const { kind, select } of fields) {
    select.addEventListener("change", () => devices.choose(kind, select.value));
  }

  function draw() {
    const now = JSON.stringify([devices.found, devices.chosen]);
    if (now === state) return;
    state = now;
    for (const { kind, select } of fields) {
      const { id, label } = devices.chosen[kind];
      const gone = devices.missing(kind);
      fill(select,
        h("option", { value: "" }, "System default"),
        devices.found[kind].map((one) => h("option", { value: one.id }, one.label)),
        gone && h("option", { value: gone.id }, `${gone.label} (not connected)`),
        !devices.named && id && h("option", { value: id }, label));
      select.value = id;
      select.disabled = !devices.found[kind].length;
    }
    help.hidden = devices.named;
    help.textContent = navigator.mediaDevices
      ? "The browser names the devices once this page may use the microphone."
      : "Browsers show devices to pages over https and on localhost only.";
  }

  const element = h("div.stack", {},
    fields.map(({ kind, select }) => h("div.field", {}, h("label", { htmlFor: select.id }, LABELS[kind]), select)),
    help);
  draw();
  return { element, draw };
}
