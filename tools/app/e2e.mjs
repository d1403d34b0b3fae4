#!/usr/bin/env node
// `npm run app:e2e`: the test of the built app in a real window, once or many times in a row.
// Only Linux has what it needs: a display without a screen and a driver of its web view.

import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { provideNodePackages } from "../setup/node-packages.mjs";
import { ROOT, targetFolder } from "../setup/paths.mjs";
import { BUILD_PROGRAMS, prepare } from "../setup/prepare.mjs";
import { passThrough } from "../setup/run.mjs";
import { provideVirtualSound } from "../setup/sound.mjs";
import { provideWindow } from "../setup/window.mjs";

const HELP = `usage: npm run app:e2e -- [--times N] [--again] [--no-build]

Starts the built desktop app on a display, a session bus and a sound server of its own,
and uses it: speaks, listens, installs a skill, answers it, checks the record, quits.

  --times N   N runs in a row, with a count of those that failed
  --again     a run that fails is told and done once more; it has failed when that fails, too
  --no-build  takes the programs and the window as they are
`;
const TESTS = [join("tests", "app", "speech.test.mjs"), join("tests", "app", "window.test.mjs")];

async function main(args) {
  if (args.includes("--help")) {
    process.stdout.write(HELP);
    return 0;
  }
  const at = args.indexOf("--times");
  const times = at < 0 ? 1 : Number(args[at + 1]);
  const rest = args.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const unknown = rest.find((arg) => arg !== "--no-build" && arg !== "--again");
  if (unknown || !Number.isInteger(times) || times < 1) {
    process.stderr.write(`error: ${unknown ? `unknown option \`${unknown}\`` : "--times takes a number from 1"}\n\n${HELP}`);
    return 2;
  }
  if (process.platform !== "linux") {
    process.stdout.write("the test of the desktop app runs on Linux only\n");
    return 0;
  }
  const env = await prepare();
  if (!env || !(await provideNodePackages(env)) || !(await provideVirtualSound(env)) || !(await provideWindow(env))) return 1;
  if (!args.includes("--no-build")) {
    if ((await passThrough("npm", ["run", "--silent", "ui:build", "--", "--logLevel", "warn"], { cwd: ROOT, env })) !== 0) return 1;
    if ((await passThrough("cargo", BUILD_PROGRAMS, { cwd: ROOT, env })) !== 0) return 1;
  }
  const kept = join(targetFolder(env), "app-test");
  await rm(kept, { recursive: true, force: true });
  const story = () => passThrough(process.execPath, ["--test", "--test-reporter=spec", ...TESTS], { cwd: ROOT, env });
  await mkdir(kept, { recursive: true });
  let failed = 0;
  for (let run = 1; run <= times; run += 1) {
    const began = Date.now();
    let code = await story();
    if (code !== 0 && args.includes("--again")) {
      // As for the other tests of whole programs, see tools/test/second-run.mjs.
      process.stdout.write("\n== a second run of the desktop app's test\n");
      code = await story();
      if (code === 0) process.stdout.write("the test of the desktop app failed once and then passed\n");
    }
    if (code !== 0) failed += 1;
    if (times > 1) process.stdout.write(`run ${run} of ${times}: ${code === 0 ? "passed" : "FAILED"} in ${Math.round((Date.now() - began) / 1000)} s\n`);
  }
  await figures(join(kept, "figures.jsonl"));
  if (times > 1) process.stdout.write(`${times - failed} of ${times} runs passed\n`);
  return failed === 0 ? 0 : 1;
}

/** The middle of what the runs measured. */
async function figures(path) {
  const text = await readFile(path, "utf8").catch(() => "");
  const runs = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  if (runs.length === 0) return;
  const middle = (of) => runs.map(of).sort((a, b) => a - b)[Math.floor(runs.length / 2)];
  process.stdout.write(`from the start to ready for the key ${middle(({ readyMs }) => readyMs)} ms, to the window ${middle(({ shownMs }) => shownMs)} ms (middle of ${runs.length})\n`);
}

process.exitCode = await main(process.argv.slice(2));
