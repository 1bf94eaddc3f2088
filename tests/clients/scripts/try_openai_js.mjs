// OpenAI's client for JavaScript.
import fs from "node:fs";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ANSWER, MODEL, RECORDING, SECURE_URL, TRANSCRIPT, check, feature, runFeatures } from "./verdicts.mjs";

const client = new OpenAI();
const messages = [{ role: "user", content: "What is the capital of France?" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const City = z.object({ name: z.string(), people: z.number() });

feature("chat", async () => {
  const answer = await client.chat.completions.create({ model: MODEL, messages });
  check(answer.choices[0].message.content.includes(ANSWER), answer);
});

feature("chat, streamed", async () => {
  const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  check(text.includes(ANSWER), text);
});

feature("chat: stream helper", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages });
  check((await stream.finalContent()).includes(ANSWER));
});

feature("chat: parse", async () => {
  const answer = await client.chat.completions.parse({
    model: MODEL,
    messages,
    response_format: zodResponseFormat(City, "city"),
  });
  check(answer.choices[0].message.parsed.name === "Paris", answer);
});

feature("chat: runTools", async () => {
  let asked = "";
  const runner = client.chat.completions.runTools({
    model: MODEL,
    messages,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          description: "The weather.",
          parameters,
          parse: JSON.parse,
          function: ({ city }) => {
            asked = city;
            return "20 degrees";
          },
        },
      },
    ],
  });
  check((await runner.finalContent()).includes("20 degrees"));
  check(asked === "Paris", asked);
});

feature("chat: runTools, streamed", async () => {
  const runner = client.chat.completions.runTools({
    model: MODEL,
    messages,
    stream: true,
    tools: [{ type: "function", function: { name: "now", parameters, parse: JSON.parse, function: () => "noon" } }],
  });
  check((await runner.finalContent()).includes("noon"));
});

feature("responses", async () => {
  const answer = await client.responses.create({ model: MODEL, input: "What is the capital of France?" });
  check(answer.output_text.includes(ANSWER), answer);
});

feature("responses, streamed", async () => {
  const stream = client.responses.stream({ model: MODEL, input: "What is the capital of France?" });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  check(kinds.at(-1) === "response.completed", kinds);
  check((await stream.finalResponse()).output_text.includes(ANSWER));
});

feature("responses: parse", async () => {
  const answer = await client.responses.parse({
    model: MODEL,
    input: "Which city?",
    text: { format: zodTextFormat(City, "city") },
  });
  check(answer.output_parsed.people === 7, answer.output_parsed);
});

feature("responses: tools", async () => {
  const tools = [{ type: "function", name: "get_weather", parameters, strict: true }];
  const first = await client.responses.create({ model: MODEL, input: messages, tools });
  const call = first.output.find((item) => item.type === "function_call");
  check(JSON.parse(call.arguments).city === "Paris", first.output);
  const result = { type: "function_call_output", call_id: call.call_id, output: "20" };
  const second = await client.responses.create({ model: MODEL, input: [...messages, ...first.output, result], tools });
  check(second.output_text.includes("20"), second.output);
});

feature("completions", async () => {
  const answer = await client.completions.create({ model: MODEL, prompt: "The capital of France is" });
  check(answer.choices[0].text.includes(ANSWER), answer);
});

feature("embeddings", async () => {
  const packed = await client.embeddings.create({ model: MODEL, input: ["one", "two"] });
  const plain = await client.embeddings.create({ model: MODEL, input: ["one", "two"], encoding_format: "float" });
  check(Math.abs(packed.data[0].embedding[0] - plain.data[0].embedding[0]) < 1e-6, packed);
  check(packed.data.length === 2 && packed.data[1].embedding.length === plain.data[1].embedding.length);
});

feature("embeddings: tokens", async () => {
  const text = await client.embeddings.create({ model: MODEL, input: "Hello world" });
  const tokens = await client.embeddings.create({ model: MODEL, input: [[9906, 1917]] });
  check(JSON.stringify(text.data[0].embedding) === JSON.stringify(tokens.data[0].embedding));
});

feature("speech (mp3 by default)", async () => {
  const reply = await client.audio.speech.create({ model: MODEL, voice: "alloy", input: "Hello." });
  const sound = Buffer.from(await reply.arrayBuffer());
  check(sound[0] === 0xff || sound.subarray(0, 3).toString() === "ID3", sound.subarray(0, 8));
});

feature("transcription", async () => {
  const file = fs.createReadStream(RECORDING);
  const answer = await client.audio.transcriptions.create({ model: MODEL, file });
  check(answer.text.includes(TRANSCRIPT), answer);
});

feature("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  check(ids.includes(MODEL), ids);
});

feature("https", async () => {
  const secure = new OpenAI({ baseURL: SECURE_URL });
  const answer = await secure.chat.completions.create({ model: MODEL, messages });
  check(answer.choices[0].message.content.includes(ANSWER), answer);
});

feature("realtime (wss by default)", async () => {
  const call = new OpenAIRealtimeWS({ model: MODEL }, new OpenAI({ baseURL: SECURE_URL }));
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no session")), 20000);
    call.on("session.created", resolve);
    call.on("error", reject);
  });
  call.close();
});

feature("images", () => client.images.generate({ model: MODEL, prompt: "A cat" }), {
  refused: "/v1/images/generations",
});

await runFeatures("./realtime/openai_js.mjs");
