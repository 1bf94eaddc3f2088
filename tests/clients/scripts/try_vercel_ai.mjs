// Vercel's AI SDK with its provider for OpenAI, as it is by default (Responses).
import fs from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import * as ai from "ai";
import { z } from "zod";
import { ANSWER, API_KEY, BASE_URL, MODEL, RECORDING, TRANSCRIPT, check, feature, runFeatures } from "./verdicts.mjs";

const openai = createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY });
const prompt = "What is the capital of France?";
const weather = ai.tool({
  description: "The weather.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `20 degrees in ${city}`,
});
const stopWhen = (ai.isStepCount ?? ai.stepCountIs)(3);
const schema = z.object({ name: z.string(), people: z.number() });

for (const [kind, model] of [
  ["", openai(MODEL)],
  [" (chat)", openai.chat(MODEL)],
]) {
  feature(`generateText${kind}`, async () => {
    const { text, usage } = await ai.generateText({ model, prompt, system: "Be brief." });
    check(text.includes(ANSWER), text);
    check(usage.inputTokens > 0, usage);
  });

  feature(`streamText${kind}`, async () => {
    const errors = [];
    const result = ai.streamText({ model, prompt, onError: ({ error }) => errors.push(String(error)) });
    let text = "";
    for await (const part of result.textStream) text += part;
    check(text.includes(ANSWER) && !errors.length, [text, errors]);
    check((await result.finishReason) === "stop", await result.finishReason);
  });

  feature(`generateText: tools${kind}`, async () => {
    const { text, steps } = await ai.generateText({ model, prompt, tools: { weather }, stopWhen });
    check(text.includes("20 degrees in Paris"), [text, steps.length]);
  });

  feature(`streamText: tools${kind}`, async () => {
    const result = ai.streamText({ model, prompt, tools: { weather }, stopWhen });
    let text = "";
    for await (const part of result.textStream) text += part;
    check(text.includes("20 degrees in Paris"), text);
  });

  feature(`object${kind}`, async () => {
    const { output } = await ai.generateText({ model, prompt, output: ai.Output.object({ schema }) });
    check(output.name === "Paris" && output.people === 7, output);
  });

  feature(`object, streamed${kind}`, async () => {
    const result = ai.streamText({ model, prompt, output: ai.Output.object({ schema }) });
    check((await result.output).name === "Paris");
  });
}

feature("completion", async () => {
  const { text } = await ai.generateText({ model: openai.completion(MODEL), prompt });
  check(text.includes(ANSWER), text);
});

feature("embed", async () => {
  const model = (openai.embedding ?? openai.textEmbeddingModel)(MODEL);
  const { embedding } = await ai.embed({ model, value: "one" });
  check(embedding.length > 0, embedding);
  const { embeddings } = await ai.embedMany({ model, values: ["one", "two"] });
  check(embeddings.length === 2, embeddings);
});

feature("speech", async () => {
  const speak = ai.generateSpeech ?? ai.experimental_generateSpeech;
  const { audio } = await speak({ model: openai.speech(MODEL), text: "Hello.", voice: "alloy" });
  check(audio.uint8Array.length > 1000 && audio.mediaType === "audio/mpeg", audio.mediaType);
});

feature("transcription", async () => {
  const hear = ai.transcribe ?? ai.experimental_transcribe;
  const { text } = await hear({ model: openai.transcription(MODEL), audio: fs.readFileSync(RECORDING) });
  check(text.includes(TRANSCRIPT), text);
});

feature(
  "hosted tool",
  () => ai.generateText({ model: openai(MODEL), prompt, tools: { web_search: openai.tools.webSearch({}) } }),
  { refused: "web_search" },
);

await runFeatures();
