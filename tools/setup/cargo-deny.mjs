// cargo-deny, which holds the dependencies against deny.toml. Only `npm test`
// needs it; it is built once from its own lock file (about four minutes of one
// core) into the tools folder.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { toolsFolder } from "./paths.mjs";
import { passThrough, tryCapture } from "./run.mjs";
import { isAtLeast, parseVersion } from "./versions.mjs";

const VERSION = "0.20.2";
const FOLDER = join(toolsFolder(), "cargo-deny");
/** The program; there only after `provideCargoDeny`. */
export const CARGO_DENY = join(FOLDER, "bin", process.platform === "win32" ? "cargo-deny.exe" : "cargo-deny");

/** Builds it where this version is not there yet. @returns {Promise<boolean>} whether it is there */
export async function provideCargoDeny(env) {
  const found = parseVersion(await tryCapture(CARGO_DENY, ["--version"], { env }));
  if (isAtLeast(found, parseVersion(VERSION))) return true;
  process.stderr.write(`  … building cargo-deny ${VERSION}, once, some minutes\n`);
  const target = join(FOLDER, "target");
  const args = ["install", "--locked", "--quiet", "--root", FOLDER, `cargo-deny@=${VERSION}`];
  const code = await passThrough("cargo", args, { env: { ...env, CARGO_TARGET_DIR: target }, stdout: "stderr" });
  await rm(target, { recursive: true, force: true });
  if (code !== 0) process.stderr.write(`error: \`cargo ${args.join(" ")}\` ended with code ${code}\n`);
  return code === 0;
}
