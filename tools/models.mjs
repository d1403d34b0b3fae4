// `npm run models:stt|llm|tts -- OPTIONS`: trains one starter model by its recipe, in
// a Python environment of its own. It resumes from the newest checkpoint, so Ctrl-C
// and the same command again go on. Options are the recipe's own (`--help` lists them).
//
// Nothing in the repository is changed: the result lies in the work folder, and the
// last lines say how it is compared and put in place.

import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT, toolsFolder } from "./setup/paths.mjs";
import { providePython, RECIPES } from "./setup/python.mjs";
import { passThrough } from "./setup/run.mjs";

/** What a finished run leaves in its work folder, and where the repository keeps it. */
const RESULTS = {
  stt: [["starter-q8_0.bin", "starter/stt/starter-q8_0.bin"]],
  llm: [["reflex-q8_0.gguf", "starter/llm/reflex-q8_0.gguf"]],
  tts: [["starter-tts.onnx", "starter/tts/starter-tts.onnx"], ["voices", "starter/tts/voices"]],
};

/**
 * The recipe's command line: `--work` in the tools folder unless given (as seen from
 * where the user stands), and `--resume` always; without a checkpoint it means nothing.
 */
export function recipeArguments(kind, args, env, caller) {
  const script = join(ROOT, "models", "recipes", kind, "run.py");
  const given = args.flatMap((arg, index) => {
    if (arg === "--work") return args[index + 1] === undefined ? [] : [resolve(caller, args[index + 1])];
    return arg.startsWith("--work=") ? [resolve(caller, arg.slice("--work=".length))] : [];
  });
  const work = given.at(-1) ?? join(toolsFolder(env), "training", kind);
  const rest = args.filter((arg, index) => arg !== "--work" && args[index - 1] !== "--work" && !arg.startsWith("--work=") && arg !== "--resume");
  return { work, command: [script, "--work", work, "--resume", ...rest] };
}

async function main([kind, ...args]) {
  if (!(kind in RESULTS)) {
    process.stderr.write(`error: \`${kind ?? ""}\` is no recipe; there are: ${Object.keys(RESULTS).join(", ")}\n`);
    return 2;
  }
  const interpreter = await providePython(process.env, RECIPES);
  if (interpreter === null) return 1;
  const { work, command } = recipeArguments(kind, args, process.env, process.env.INIT_CWD ?? process.cwd());
  const helps = args.some((arg) => arg === "--help" || arg === "-h");
  if (!helps) {
    await mkdir(work, { recursive: true });
    process.stderr.write(`  … working in ${work}; Ctrl-C saves, the same command goes on\n`);
  }
  const code = await passThrough(interpreter, command, { cwd: ROOT, env: process.env });
  const made = RESULTS[kind].filter(([result]) => existsSync(join(work, result)));
  if (code !== 0 || helps || made.length < RESULTS[kind].length) return code;
  const copies = made.map(([result, place]) => `  ${join(work, result)}  →  models/${place}`).join("\n");
  process.stderr.write(`\nTo put it in place, copy\n${copies}\nthen \`cargo xtask models --update\` and \`cargo xtask evaluate\`; git shows whether the figures are better.\n`);
  return 0;
}

// Imported by its test, which must not train.
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.exitCode = await main(process.argv.slice(2));
