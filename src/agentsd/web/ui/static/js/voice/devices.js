// The microphones and loudspeakers of this machine: those that are there, and the ones that were chosen.

const KEY = "agentsd.devices";
const KINDS = { audioinput: "microphone", audiooutput: "speaker" };
const ALIASES = new Set(["default", "communications"]); // chromium's names of the system's own choice

/** @typedef {"microphone" | "speaker"} Kind */
/** @typedef {{ id: string, label: string }} Device id "": the system's own choice */

/** Remembered in this browser. A chosen device that is not connected is replaced by the system's own until it is. */
export class Devices {
  /** @type {Record<Kind, Device[]>} */
  found = { microphone: [], speaker: [] };
  /** @type {Record<Kind, Device>} */
  chosen = remembered();

  /** @param {(lost: Device[]) => void} onChange after each change; `lost`: chosen ones that were removed just now */
  constructor(onChange) {
    this.onChange = onChange;
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.look());
  }

  /** Whether a page can choose where its sound is played. */
  get canRoute() { return "setSinkId" in AudioContext.prototype; }

  /** Read what is connected. Before a page may use the microphone, browsers hide the names. */
  async look() {
    const before = this.kinds.filter((kind) => this.missing(kind) === null);
    const listed = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
    const named = listed.filter(({ deviceId, label }) => deviceId && label && !ALIASES.has(deviceId));
    for (const kind of this.kinds) {
      this.found[kind] = named.filter((one) => KINDS[one.kind] === kind)
        .map(({ deviceId, label }) => ({ id: deviceId, label }));
    }
    this.onChange(before.filter((kind) => this.missing(kind) !== null).map((kind) => this.chosen[kind]));
  }

  /** @returns {Kind[]} */
  get kinds() { return ["microphone", "speaker"]; }

  /** Return the chosen device that is not connected; null where it is, or where the names are hidden. */
  missing(kind) {
    const { id } = this.chosen[kind];
    return !id || !this.named || this.found[kind].some((one) => one.id === id) ? null : this.chosen[kind];
  }

  /** Whether the browser shows the names. */
  get named() { return this.kinds.some((kind) => this.found[kind].length > 0); }

  /** Return the id of the device to use now. */
  use(kind) { return this.missing(kind) ? "" : this.chosen[kind].id; }

  choose(kind, id) {
    this.chosen[kind] = this.found[kind].find((one) => one.id === id) ?? { id: "", label: "" };
    try { localStorage.setItem(KEY, JSON.stringify(this.chosen)); } catch { /* storage is unavailable */ }
    this.onChange([]);
  }
}

function remembered() {
  const none = () => ({ id: "", label: "" });
  try {
    const { microphone, speaker } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { microphone: isDevice(microphone) ? microphone : none(), speaker: isDevice(speaker) ? speaker : none() };
  } catch {
    return { microphone: none(), speaker: none() };
  }
}

const isDevice = (one) => typeof one?.id === "string" && typeof one.label === "string";
