// OpenAI's Agents SDK for JavaScript, as it is by default (Responses).
import { Agent, MemorySession, Runner, handoff, run, setTracingDisabled, tool, webSearchTool } from "@openai/agents";
import { z } from "zod";
import { ANSWER, MODEL, check, feature, runFeatures } from "./verdicts.mjs";

setTracingDisabled(true);
const question = "What is the capital of France?";
const weather = tool({
  name: "get_weather",
  description: "The weather.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => `20 degrees in ${city}`,
});

feature("run", async () => {
  const result = await run(new Agent({ name: "A", instructions: "Be kind.", model: MODEL }), question);
  check(result.finalOutput.includes(ANSWER), result.finalOutput);
});

feature("run, streamed", async () => {
  const result = await run(new Agent({ name: "A", model: MODEL }), question, { stream: true });
  let text = "";
  for await (const part of result.toTextStream()) text += part;
  await result.completed;
  check(text.includes(ANSWER), text);
});

feature("tools", async () => {
  const result = await run(new Agent({ name: "A", model: MODEL, tools: [weather] }), question);
  check(result.finalOutput.includes("20 degrees in Paris"), result.finalOutput);
});

feature("tools, streamed", async () => {
  const result = await run(new Agent({ name: "A", model: MODEL, tools: [weather] }), question, { stream: true });
  await result.completed;
  check(result.finalOutput.includes("20 degrees in Paris"), result.finalOutput);
});

feature("output type", async () => {
  const outputType = z.object({ name: z.string(), people: z.number() });
  const result = await run(new Agent({ name: "A", model: MODEL, outputType }), question);
  check(result.finalOutput.name === "Paris", result.finalOutput);
});

feature("handoff", async () => {
  const other = new Agent({ name: "Other", model: MODEL });
  const result = await new Runner().run(new Agent({ name: "A", model: MODEL, handoffs: [handoff(other)] }), question);
  check(result.lastAgent.name === "Other", result.lastAgent.name);
});

feature("session", async () => {
  const session = new MemorySession();
  const agent = new Agent({ name: "A", model: MODEL });
  await run(agent, question, { session });
  const result = await run(agent, "And?", { session });
  check(result.finalOutput.includes(ANSWER), result.finalOutput);
});

feature("hosted tool", () => run(new Agent({ name: "A", model: MODEL, tools: [webSearchTool()] }), question), {
  refused: "web_search",
});

await runFeatures("./realtime/agents_js.mjs");
