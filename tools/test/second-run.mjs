// The tests of a cargo workspace, with a second run of the few that failed. Tests of
// whole programs share two cores with each other; one that fails under that load and
// passes alone is told in the summary by name, and one that fails twice has failed.

import { spawn } from "node:child_process";

/** More failures than this are no accident, and are not run again. Chosen. */
const MOST_AGAIN = 3;
/** Longest tail of the output that is looked through, in characters. */
const TAIL = 4_000_000;

/**
 * Which tests failed, and in which targets.
 * @param {string} output what `cargo test --no-fail-fast` wrote, both streams
 * @returns {{names: string[], targets: string[][]}} targets as arguments that select them in the whole workspace
 */
export function failures(output) {
  const names = new Set();
  for (const [, name] of output.matchAll(/^test (\S+)(?: - should panic)? \.\.\. FAILED\r?$/gm)) names.add(name);
  const targets = [];
  // "error: 2 targets failed:" and a line for each.
  const list = output.match(/^error: \d+ targets? failed:\r?\n((?:\s+`[^`\n]*`\r?\n?)+)/m);
  for (const [, line] of list?.[1].matchAll(/`([^`]*)`/g) ?? []) {
    const words = line.split(" ");
    const at = words.findIndex((word) => ["--test", "--lib", "--bin", "--example", "--bench", "--doc"].includes(word));
    if (at < 0) return { names: [...names], targets: [] };
    targets.push(words.slice(at, at + (["--lib", "--doc"].includes(words[at]) ? 1 : 2)));
  }
  return { names: [...names], targets };
}

/** Whether a second run can tell an accident from a fault: few tests, each known by name. */
export function isWorthASecondRun({ names, targets }) {
  return names.length > 0 && names.length <= MOST_AGAIN && targets.length > 0 && targets.length <= names.length;
}

/** How many tests passed, over all targets. */
export function passed(output) {
  let count = 0;
  for (const [, n] of output.matchAll(/^test result: ok\. (\d+) passed; 0 failed/gm)) count += Number(n);
  return count;
}

/**
 * Runs the tests, and those that failed once more, alone.
 * @param {string[]} args for cargo: `test`, then what selects; `--no-fail-fast` among them
 * @param {{cwd: string, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<{code: number, again: string[]}>} `again`: tests that failed and then passed
 */
export async function runTests(args, options) {
  const first = await show("cargo", args, options);
  if (first.code === 0) return { code: 0, again: [] };
  const failed = failures(first.output);
  if (!isWorthASecondRun(failed)) return { code: first.code, again: [] };
  process.stdout.write(`\n== a second run, alone, of ${failed.names.join(", ")}\n`);
  let count = 0;
  for (const target of failed.targets) {
    const again = await show("cargo", [...args, ...target, "--", "--exact", "--test-threads=1", ...failed.names], options);
    if (again.code !== 0) return { code: again.code, again: [] };
    count += passed(again.output);
  }
  // Fewer would mean that a failed test did not run again.
  return count >= failed.names.length ? { code: 0, again: failed.names } : { code: first.code, again: [] };
}

/** Runs a program whose output the user sees, and keeps the end of it. */
function show(program, args, { cwd, env }) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    let output = "";
    const keep = (out) => (text) => {
      out.write(text);
      output = (output + text).slice(-TAIL);
    };
    child.stdout.setEncoding("utf8").on("data", keep(process.stdout));
    child.stderr.setEncoding("utf8").on("data", keep(process.stderr));
    const forward = (signal) => child.kill(signal);
    process.on("SIGTERM", forward);
    const done = (code) => {
      process.off("SIGTERM", forward);
      resolve({ code, output });
    };
    child.on("error", (error) => {
      process.stderr.write(`error: \`${program}\` could not be started: ${error.message}\n`);
      done(127);
    });
    child.on("close", (code) => done(code ?? 128));
  });
}
