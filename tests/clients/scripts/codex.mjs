// Run `codex exec` with a configuration, in a folder of its own.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { ANSWER } from "./verdicts.mjs";

const bin = path.join(path.dirname(createRequire(import.meta.url).resolve("@openai/codex/package.json")), "bin/codex.js");

export async function tryConfig(config) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "codex-"));
  fs.writeFileSync(path.join(home, "config.toml"), config);
  const words = ["exec", "--skip-git-repo-check", "--sandbox", "read-only", "What is the capital of France?"];
  const done = spawnSync(process.execPath, [bin, ...words], {
    cwd: home,
    env: { ...process.env, CODEX_HOME: home },
    input: "",
    encoding: "utf8",
    timeout: 60000,
  });
  fs.rmSync(home, { recursive: true, force: true });
  // The vendor calls the first tool, a command, whose result Codex sends back.
  if (![ANSWER, "The tool answered"].some((text) => done.stdout.includes(text))) throw new Error(`codex: ${(done.stderr + done.stdout).slice(-700)}`);
  console.log(done.stdout);
}
