// Set-up as the first step of another command: silent when all is there.

import { createReport } from "./report.mjs";
import { setUp } from "./setup.mjs";

/**
 * Runs set-up; its words go to standard error.
 * @returns {Promise<NodeJS.ProcessEnv | null>} the environment for cargo and Loqa, or `null` when something is missing
 */
export async function prepare() {
  const { ok, steps, env } = await setUp({ report: createReport({ quiet: true }) });
  if (ok) return env;
  const missing = steps.filter(({ state }) => state === "missing").map(({ name }) => name);
  process.stderr.write(`error: set-up is not complete: ${missing.join(", ")}; what to do stands above\n`);
  return null;
}

/** Cargo's arguments for all programs of Loqa. One set of packages everywhere, so that nothing is built twice. */
export const BUILD_PROGRAMS = ["build", "--locked", "--workspace", "--bins"];
