// The official client of JavaScript, realtime. It connects by wss:// only, so the server stands behind TLS.

import { API_KEY, check, feature, load, MODEL, runFeatures, speech } from "./realtime_features.mjs";

const { default: OpenAI } = await load("openai");
const { OpenAIRealtimeWS } = await load("openai/realtime/ws");

const QUESTION = { type: "message", role: "user", content: [{ type: "input_text", text: "Weather in Bonn?" }] };

async function open(target = { model: MODEL }) {
  const client = new OpenAI({ apiKey: API_KEY, baseURL: process.env.OPENAI_TLS_URL });
  const connection = await OpenAIRealtimeWS.create(client, target);
  const events = [];
  const waiting = [];
  const keep = (event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  };
  connection.on("event", keep);
  connection.on("error", (error) => keep({ type: "error", error }));
  let read = 0;
  const next = async (type) => {
    for (;;) {
      while (read < events.length) {
        const event = events[read++];
        if (event.type === type) return event;
        check(event.type !== "error", String(event.error?.message ?? event.error));
      }
      await new Promise((wake) => waiting.push(wake));
    }
  };
  await next("session.created");
  return { connection, next };
}

feature("wss, session.update, a written question", async () => {
  const { connection, next } = await open();
  connection.send({ type: "session.update", session: { type: "realtime", instructions: "Be brief.", max_output_tokens: 100 } });
  const { session } = await next("session.updated");
  check(session.instructions === "Be brief." && session.max_output_tokens === 100, session);
  connection.send({ type: "conversation.item.create", previous_item_id: "root", item: QUESTION });
  connection.send({ type: "response.create", response: { metadata: { topic: "x" } } });
  const { response } = await next("response.done");
  check(response.metadata?.topic === "x", response);
  check(response.output[0].content[0].transcript.includes("Weather in Bonn?"), response);
  connection.close();
});

feature("speech to speech", async () => {
  const { connection, next } = await open();
  for (const piece of speech()) {
    connection.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
  }
  await next("input_audio_buffer.committed");
  await next("response.output_audio.delta");
  const { response } = await next("response.done");
  check(response.status === "completed", response);
  connection.close();
});

feature("transcription session", async () => {
  const { connection, next } = await open({ intent: "transcription" });
  connection.send({
    type: "session.update",
    session: { type: "transcription", audio: { input: { transcription: { model: MODEL } } } },
  });
  check((await next("session.updated")).session.type === "transcription");
  for (const piece of speech()) {
    connection.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
  }
  const { transcript } = await next("conversation.item.input_audio_transcription.completed");
  check(transcript, transcript);
  connection.close();
});

await runFeatures("openai");
