// OpenAI's Codex without a terminal: `codex exec`, with this server as its model's provider.
import { BASE_URL, MODEL, feature, runFeatures } from "./verdicts.mjs";
import { tryConfig } from "./codex.mjs";

const provider = `model = "${MODEL}"
model_provider = "agentsd"
HOSTED

[model_providers.agentsd]
name = "agentsd"
base_url = "${BASE_URL}"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
`;

feature("exec (responses)", () => tryConfig(provider.replace("HOSTED", 'web_search = "disabled"')));

feature("exec with OpenAI's own web search", () => tryConfig(provider.replace("HOSTED", "")), {
  refused: "web_search",
});

await runFeatures();
