// Where things lie. Nothing else in set-up spells a folder.

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");
/** Versions, addresses and digests of what is fetched. */
export const PINS = join(ROOT, "sidecars", "nats-server", "pins.json");

/** The one folder that holds everything fetched: `$LOQA_TOOLS`, else `.tools/`. */
export function toolsFolder(env = process.env) {
  return resolve(ROOT, env.LOQA_TOOLS || ".tools");
}

/** Cargo's build folder: `$CARGO_TARGET_DIR`, else `target/`. */
export function targetFolder(env = process.env) {
  return resolve(ROOT, env.CARGO_TARGET_DIR || "target");
}

/** `linux-x64`, `darwin-arm64`, `win32-x64`: the keys of the pins. */
export function platformKey(platform = process.platform, arch = process.arch) {
  return `${platform}-${arch}`;
}
