// OpenAI's Codex without a terminal: `codex exec`, with this server as its model's provider.
import { BASE_URL, MODEL, feature, runFeatures } from "./verdicts.mjs";
import { tryConfig } from "./codex.mjs";

feature("exec (responses)", () =>
  tryConfig(`model = "${MODEL}"
model_provider = "agentsd"

[model_providers.agentsd]
name = "agentsd"
base_url = "${BASE_URL}"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
`),
);

await runFeatures();
