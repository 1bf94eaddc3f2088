// The Agents SDK of JavaScript, realtime over a WebSocket.

import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents/realtime";
import { API_KEY, EventLog, SOCKET_URL, VOICE_MODEL, check, feature, readSpeech } from "../verdicts.mjs";
import { INSTRUCTIONS, INSTRUCTIONS_QUESTION } from "../verdicts.mjs";

async function open(options = {}) {
  const agent = new RealtimeAgent({ name: "A", instructions: INSTRUCTIONS, ...options });
  const session = new RealtimeSession(agent, { transport: "websocket", model: VOICE_MODEL });
  const errors = [];
  const events = new EventLog();
  session.on("error", (error) => errors.push(error));
  session.transport.on("*", (event) => events.add(event));
  await session.connect({ apiKey: API_KEY, url: `${SOCKET_URL}?model=${VOICE_MODEL}` });
  return { session, next: (type) => events.next(type), errors };
}

feature("realtime: defaults: instructions arrive", async () => {
  const { session, next, errors } = await open();
  let settings;
  do ({ session: settings } = await next("session.updated"));
  while (settings.instructions !== INSTRUCTIONS); // the first update is about tracing
  session.sendMessage(INSTRUCTIONS_QUESTION);
  const { response } = await next("response.done");
  check(response.status === "completed", response);
  check(response.output[0].content[0].transcript.includes(INSTRUCTIONS), response);
  check(!errors.length, errors);
  session.close();
});

feature("realtime: one tool, called", async () => {
  const called = [];
  const weather = tool({
    name: "weather",
    description: "Returns the weather of a place.",
    parameters: {
      type: "object",
      properties: { place: { type: "string" } },
      required: ["place"],
      additionalProperties: false,
    },
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

feature("realtime: speech to speech, history", async () => {
  const { session, next, errors } = await open();
  await next("session.updated");
  for (const piece of readSpeech()) session.sendAudio(new Uint8Array(piece).buffer);
  await next("response.output_audio.delta");
  await next("response.done");
  const spoken = session.history.find((item) => item.role === "user");
  check(spoken?.content[0].transcript, session.history);
  check(!errors.length, errors);
  session.close();
});

feature("realtime: interrupt()", async () => {
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

feature("realtime: history: items are written anew", async () => {
  const { session, next, errors } = await open();
  await next("session.updated");
  session.sendMessage("Hello.");
  await next("response.done");
  session.updateHistory((history) => history.filter((item) => item.role !== "user"));
  await next("conversation.item.deleted");
  check(!errors.length, errors);
  session.close();
});
