// The Agents SDK of JavaScript, realtime over a WebSocket.

import { API_KEY, check, feature, load, MODEL, runFeatures, SOCKET_URL, speech } from "./realtime_features.mjs";

const { RealtimeAgent, RealtimeSession, tool } = await load("@openai/agents-realtime");

async function open(options = {}) {
  const agent = new RealtimeAgent({ name: "A", instructions: "Be brief.", ...options });
  const session = new RealtimeSession(agent, { transport: "websocket", model: MODEL });
  const events = [];
  const errors = [];
  const waiting = [];
  session.on("error", (error) => errors.push(error));
  session.transport.on("*", (event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  });
  let read = 0;
  const next = async (type) => {
    for (;;) {
      while (read < events.length) {
        const event = events[read++];
        check(event.type !== "error", event);
        if (event.type === type) return event;
      }
      await new Promise((wake) => waiting.push(wake));
    }
  };
  await session.connect({ apiKey: API_KEY, url: `${SOCKET_URL}?model=${MODEL}` });
  return { session, next, errors };
}

feature("defaults: instructions arrive", async () => {
  const { session, next, errors } = await open();
  let settings;
  do ({ session: settings } = await next("session.updated"));
  while (settings.instructions !== "Be brief."); // the first update is about tracing
  session.sendMessage("Hello.");
  const { response } = await next("response.done");
  check(response.status === "completed", response);
  check(!errors.length, errors);
  session.close();
});

feature("one tool, called", async () => {
  const called = [];
  const weather = tool({
    name: "weather",
    description: "Returns the weather of a place.",
    parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"], additionalProperties: false },
    strict: true,
    execute: async ({ place }) => {
      called.push(place);
      return "It rains.";
    },
  });
  const { session, next, errors } = await open({ tools: [weather] });
  await next("session.updated");
  session.sendMessage("Weather in Bonn?");
  await next("response.done");
  const { response } = await next("response.done");
  check(called[0] === "Bonn", called);
  check(response.output[0].content[0].transcript.includes("It rains."), response);
  check(!errors.length, errors);
  session.close();
});

feature("speech to speech, history", async () => {
  const { session, next, errors } = await open();
  await next("session.updated");
  for (const piece of speech()) session.sendAudio(new Uint8Array(piece).buffer);
  await next("response.output_audio.delta");
  await next("response.done");
  const spoken = session.history.find((item) => item.role === "user");
  check(spoken?.content[0].transcript, session.history);
  check(!errors.length, errors);
  session.close();
});

feature("interrupt()", async () => {
  const { session, next, errors } = await open();
  await next("session.updated");
  session.sendMessage("Tell me a long story, please. It may be long.");
  await next("response.output_audio.delta");
  session.interrupt();
  await next("response.done");
  session.sendMessage("Hello.");
  const { response } = await next("response.done");
  check(response.status === "completed", response);
  check(!errors.length, errors);
  session.close();
});

feature("history: items are written anew", async () => {
  const { session, next, errors } = await open();
  await next("session.updated");
  session.sendMessage("Hello.");
  await next("response.done");
  session.updateHistory((history) => history.filter((item) => item.role !== "user"));
  await next("conversation.item.deleted");
  check(!errors.length, errors);
  session.close();
});

await runFeatures("@openai/agents-realtime");
