// `npm run models:…`: what is handed to a recipe. Training itself is not run here.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { recipeArguments } from "../models.mjs";
import { ROOT } from "../setup/paths.mjs";

const env = { LOQA_TOOLS: join(ROOT, "t") };

test("a recipe works in the tools folder and resumes, whatever else it is told", () => {
  const { work, command } = recipeArguments("stt", ["--processes", "2"], env, ROOT);
  assert.equal(work, join(ROOT, "t", "training", "stt"));
  assert.deepEqual(command, [join(ROOT, "models", "recipes", "stt", "run.py"), "--work", work, "--resume", "--processes", "2"]);
});

test("a work folder is named as seen from where the user stands", () => {
  for (const args of [["--work", "here", "--resume", "--only", "train"], ["--only", "train", "--work=here"]]) {
    const { work, command } = recipeArguments("llm", args, env, resolve("/somewhere"));
    assert.equal(work, resolve("/somewhere/here"));
    assert.deepEqual(command.slice(1), ["--work", work, "--resume", "--only", "train"]);
  }
});

test("an unknown recipe is named before anything is installed", () => {
  const run = spawnSync(process.execPath, [join(ROOT, "tools", "models.mjs"), "wakeword"], { encoding: "utf8" });
  assert.equal(run.status, 2);
  assert.match(run.stderr, /`wakeword` is no recipe; there are: stt, llm, tts/);
});
