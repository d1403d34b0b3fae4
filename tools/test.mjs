// `npm test`: set-up, then every check that CI runs, in the same order. A failed
// check does not keep the others from running. `npm test -- NAME…` runs only the
// checks whose names contain one of the words.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { provideBrowser } from "./setup/browser.mjs";
import { CARGO_DENY, provideCargoDeny } from "./setup/cargo-deny.mjs";
import { provideNodePackages } from "./setup/node-packages.mjs";
import { prepare } from "./setup/prepare.mjs";
import { ROOT } from "./setup/paths.mjs";
import { providePrometheus } from "./setup/prometheus.mjs";
import { providePython } from "./setup/python.mjs";
import { passThrough } from "./setup/run.mjs";
import { provideVirtualSound } from "./setup/sound.mjs";
import { provideWindow } from "./setup/window.mjs";
import { runTests } from "./test/second-run.mjs";

const SKILLS = ["--manifest-path", join("skills", "Cargo.toml")];
// A licence on the list that only one of the two workspaces uses is no fault.
const DENY = ["check", "--hide-inclusion-graph", "--allow", "license-not-encountered", "--allow", "license-exception-not-encountered", "bans", "licenses", "sources"];
const STRICT = ["--", "-D", "warnings"];

/** Name and command of every check. `--all-targets` builds tests and programs with one set of features. */
const CHECKS = [
  ["format", "cargo", ["fmt", "--all", "--check"]],
  ["format of the skills", "cargo", ["fmt", "--all", "--check", ...SKILLS]],
  ["tidy", "cargo", ["xtask", "tidy"]],
  ["model catalog", "cargo", ["xtask", "models"]],
  ["dependencies", CARGO_DENY, ["--config", "deny.toml", ...DENY]],
  ["dependencies of the skills", CARGO_DENY, ["--config", "deny.toml", ...SKILLS, ...DENY]],
  ["set-up tests", process.execPath, ["--test", ...nodeTests()]],
  ["recipes of the models", process.execPath, [join("tools", "python.mjs"), "-m", "unittest", "discover", "-s", join("models", "recipes"), "-p", "test_*.py"]],
  ["build", "cargo", ["build", "--locked", "--workspace", "--all-targets"]],
  ["clippy", "cargo", ["clippy", "--locked", "--workspace", "--all-targets", ...STRICT]],
  ["tests", "cargo", ["test", "--locked", "--workspace", "--no-fail-fast"]],
  ["clippy of the skills", "cargo", ["clippy", "--locked", "--workspace", "--all-targets", ...SKILLS, ...STRICT]],
  ["tests of the skills", "cargo", ["test", "--locked", "--workspace", ...SKILLS]],
  ["ui", "npm", ["run", "--silent", "ui:all"]],
  ["ui end to end", "npm", ["run", "--silent", "ui:e2e"]],
  ["icons", process.execPath, [join("tools", "icons.mjs"), "--check"]],
  ["desktop app end to end", process.execPath, [join("tools", "app", "e2e.mjs"), "--again"]],
];

/** Node 20 takes files only, not a folder or a pattern. */
function nodeTests() {
  const folder = join(ROOT, "tools", "tests");
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith(".test.mjs"));
  return names.map((name) => join("tools", "tests", name));
}

async function main(words) {
  const started = Date.now();
  const wanted = CHECKS.filter(([name]) => words.length === 0 || words.some((word) => name.includes(word)));
  if (wanted.length === 0) {
    process.stderr.write(`error: no check is called like ${words.join(", ")}; there are: ${CHECKS.map(([name]) => name).join(", ")}\n`);
    return 2;
  }
  const results = [];
  const env = await prepare();
  const tools = env && wanted.some(([, program]) => program === CARGO_DENY) ? await provideCargoDeny(env) : true;
  const runsTests = env && wanted.some(([name]) => name === "tests");
  const sound = runsTests ? await provideVirtualSound(env) : true;
  // The tests of the app's own crate open windows as well.
  const display = runsTests ? await provideWindow(env) : true;
  const python = runsTests ? await providePython(env) : null;
  if (python) env.LOQA_TEST_PYTHON = python;
  const prometheus = runsTests ? await providePrometheus(env) : null;
  if (prometheus) env.LOQA_TEST_PROMETHEUS = prometheus;
  const window = env && wanted.some(([name]) => name.startsWith("ui")) ? await provideNodePackages(env) : true;
  const runsBrowser = env && wanted.some(([name]) => name === "ui end to end");
  const browser = runsBrowser ? await provideBrowser(env) : null;
  if (browser) env.LOQA_TEST_CHROMIUM = browser;
  const forTests = sound && display && ((python !== null && prometheus !== null) || !runsTests) && window && (browser !== null || !runsBrowser);
  results.push({ name: "set-up", ok: env !== null && tools && forTests, seconds: secondsSince(started) });
  for (const [name, program, args] of env ? wanted : []) {
    process.stdout.write(`\n== ${name}: ${[program === process.execPath ? "node" : program, ...args].join(" ")}\n`);
    const begin = Date.now();
    const isTests = args[0] === "test" && args.includes("--no-fail-fast");
    const run = isTests ? runTests(args, { cwd: ROOT, env }) : passThrough(program, args, { cwd: ROOT, env });
    const result = await run;
    const { code, again } = isTests ? result : { code: result, again: [] };
    results.push({ name, ok: code === 0, again, seconds: secondsSince(begin) });
  }
  const failed = results.filter(({ ok }) => !ok).length;
  process.stdout.write(`\n== summary (${secondsSince(started)} s)\n`);
  for (const { name, ok, again = [], seconds } of results) {
    const twice = again.length > 0 ? `; failed once, passed alone: ${again.join(", ")}` : "";
    process.stdout.write(`${ok ? "passed" : "FAILED"}  ${name} (${seconds} s${twice})\n`);
  }
  process.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

function secondsSince(time) {
  return Math.round((Date.now() - time) / 1000);
}

process.exitCode = await main(process.argv.slice(2));
