// Where questions are written.

import { chosen, onChoice } from "../choice.js";
import { byId } from "../dom.js";

/** `work` has `send(text, edited)` and `stop()`. */
export class Composer {
  coming = false;
  editing = false;

  /** @param {{ send: (text: string, edited: boolean) => void, stop: () => void }} work */
  constructor(work) {
    this.work = work;
    this.field = byId("question", HTMLTextAreaElement);
    this.button = byId("send");
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("input", () => this.grow());
    byId("keep").addEventListener("click", () => { this.edit(null); this.focus(); });
    onChoice(() => this.name());
    this.name();
  }

  /** While an answer comes, the button stops it. */
  busy(coming) {
    this.coming = coming;
    this.button.textContent = coming ? "Stop" : "Send";
    this.button.classList.toggle("primary", !coming);
  }

  /** Write the last question anew; null: leave it as it is. */
  edit(text) {
    this.editing = text !== null;
    byId("editing").hidden = !this.editing;
    this.field.value = text ?? "";
    this.grow();
  }

  /** The keyboard belongs here, unless it would cover the page (a phone), or a dialog is open. */
  focus() { if (matchMedia("(hover: hover)").matches) this.field.focus(); }

  name() { this.field.placeholder = `Message ${chosen().name}`; }

  grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!this.coming) this.submit();
    } else if (event.key === "Escape" && this.coming) this.work.stop();
    else if (event.key === "Escape" && this.editing) this.edit(null);
  }

  submit() {
    if (this.coming) {
      this.work.stop();
      this.focus();
      return;
    }
    const text = this.field.value.trim();
    if (!text) return;
    const edited = this.editing;
    this.edit(null);
    this.work.send(text, edited);
  }
}
