// Talking to agents in writing.

import { onChoice } from "../choice.js";
import { Composer } from "../chat/composer.js";
import { Conversation } from "../chat/conversation.js";
import { History } from "../chat/history.js";
import { aboveKeyboard, scrolling } from "../chat/scrolling.js";
import { Store } from "../chat/store.js";
import { byId } from "../dom.js";
import { boot } from "../shell.js";

const session = await boot();
const store = new Store(`${session.user}/${session.name}`);
const scroll = scrolling(byId("jump"));
const composer = new Composer({ send, stop: () => conversation.stop() });
const conversation = new Conversation(byId("transcript"), store, {
  coming: (coming) => { composer.busy(coming); if (coming) composer.focus(); },
  drawn: scroll.follow,
  kept,
  edit: (text) => { composer.edit(text); composer.field.focus(); },
  say: (text) => { byId("spoken").textContent = text; },
});
const list = new History(store, {
  open: (id) => { address(id, true); open(id); }, changed, current: () => conversation.data.id,
});

aboveKeyboard(byId("compose"));
byId("new-chat").addEventListener("click", () => { address(null, true); open(null); });
addEventListener("popstate", () => open(asked()));
addEventListener("pagehide", () => conversation.keep());
onChoice(() => { if (!conversation.data.turns.length) conversation.draw(); });
open(asked());

function asked() { return new URLSearchParams(location.search).get("chat"); }

function open(id) {
  composer.edit(null);
  conversation.open(id ? store.find(id) : null);
  list.draw();
  scroll.toEnd();
  composer.focus();
}

function send(text, edited) {
  conversation.send(text, edited);
  scroll.toEnd();
}

function kept(id) {
  if (id === conversation.data.id && asked() !== id) address(id, false);
  list.draw();
}

function changed() {
  const { id, turns } = conversation.data;
  if (turns.length && !store.find(id)) {
    address(null, false);
    open(null);
  } else list.draw();
}

/** `?chat=`: `anew` is a step that Back undoes. */
function address(id, anew) {
  const next = new URL(location.href);
  if (id) next.searchParams.set("chat", id);
  else next.searchParams.delete("chat");
  if (anew) history.pushState(null, "", next);
  else history.replaceState(history.state, "", next);
}
