// The official client of JavaScript, realtime. It connects by wss:// only.

import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { EventLog, SECURE_URL, VOICE_MODEL, check, feature, readSpeech } from "../verdicts.mjs";
import { INSTRUCTIONS, INSTRUCTIONS_QUESTION } from "../verdicts.mjs";

const write = (text) => ({ type: "message", role: "user", content: [{ type: "input_text", text }] });

async function open(target = { model: VOICE_MODEL }) {
  const connection = await OpenAIRealtimeWS.create(new OpenAI({ baseURL: SECURE_URL }), target);
  const events = new EventLog();
  connection.on("event", (event) => events.add(event));
  connection.on("error", (error) => events.add({ type: "error", error }));
  await events.next("session.created");
  return { connection, next: (type) => events.next(type) };
}

feature("realtime: wss, session.update, a written question", async () => {
  const { connection, next } = await open();
  const settings = { type: "realtime", instructions: INSTRUCTIONS, max_output_tokens: 100 };
  connection.send({ type: "session.update", session: settings });
  const { session } = await next("session.updated");
  check(session.instructions === INSTRUCTIONS && session.max_output_tokens === 100, session);
  connection.send({ type: "conversation.item.create", previous_item_id: "root", item: write("Weather in Bonn?") });
  connection.send({ type: "response.create", response: { metadata: { topic: "x" } } });
  const { response } = await next("response.done");
  check(response.metadata?.topic === "x", response);
  check(response.output[0].content[0].transcript.includes("Weather in Bonn?"), response);
  connection.send({ type: "conversation.item.create", item: write(INSTRUCTIONS_QUESTION) });
  connection.send({ type: "response.create" });
  const { response: second } = await next("response.done");
  check(second.output[0].content[0].transcript.includes(INSTRUCTIONS), second);
  connection.close();
});

feature("realtime: speech to speech", async () => {
  const { connection, next } = await open();
  for (const piece of readSpeech()) {
    connection.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
  }
  await next("input_audio_buffer.committed");
  await next("response.output_audio.delta");
  const { response } = await next("response.done");
  check(response.status === "completed", response);
  connection.close();
});

feature("realtime: transcription session", async () => {
  const { connection, next } = await open({ intent: "transcription" });
  connection.send({
    type: "session.update",
    session: { type: "transcription", audio: { input: { transcription: { model: VOICE_MODEL } } } },
  });
  check((await next("session.updated")).session.type === "transcription");
  for (const piece of readSpeech()) {
    connection.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
  }
  const { transcript } = await next("conversation.item.input_audio_transcription.completed");
  check(transcript, transcript);
  connection.close();
});
