// The packages of the window's build and tests, as package-lock.json pins them. No script
// of a package runs.

import { readFile, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ROOT } from "./paths.mjs";
import { passThrough } from "./run.mjs";

/** Says which lock file `node_modules` was made from. */
const STAMP = join(ROOT, "node_modules", ".loqa-lock");

/** Installs what the lock file says, unless it is there. @returns {Promise<boolean>} whether it is there */
export async function provideNodePackages(env) {
  const lock = createHash("sha256").update(await readFile(join(ROOT, "package-lock.json"))).digest("hex");
  const made = await readFile(STAMP, "utf8").catch(() => "");
  if (made === lock) return true;
  process.stderr.write("  … installing the packages of package-lock.json for the window\n");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  if ((await passThrough("npm", args, { cwd: ROOT, env, stdout: "stderr" })) !== 0) return false;
  await writeFile(STAMP, lock);
  return true;
}
