// Prometheus and promtool for the tests: a real one scrapes a real hub with the rules of
// deploy/observability. Only `npm test` needs them. They come from Debian's package,
// whose signature apt checks, unpacked into the tools folder; no service is installed.

import { access, copyFile, chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { findApt } from "./packages.mjs";
import { toolsFolder } from "./paths.mjs";
import { capture, CommandError, tryCapture } from "./run.mjs";
import { isAtLeast, parseVersion } from "./versions.mjs";

const PROGRAMS = ["prometheus", "promtool"];
/** Oldest version for which the tests were written: Debian 12's. */
const MINIMUM = [2, 42, 0];
/** Chosen: twenty megabytes on a slow line. */
const DOWNLOAD_TIMEOUT_MS = 15 * 60 * 1000;

/**
 * Provides both programs where they are not there yet, or says how.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | null>} the folder of both, or `null` when there is none
 */
export async function providePrometheus(env) {
  const folder = join(toolsFolder(env), "prometheus");
  if (await works(folder, env)) return folder;
  const installed = await onPath(env);
  if (installed) return installed;
  const apt = await findApt(env);
  if (!apt) {
    process.stderr.write(`error: the tests need prometheus and promtool ${MINIMUM.join(".")} or newer; install them so that both are on the PATH\n`);
    return null;
  }
  process.stderr.write("  … fetching Prometheus for the tests, once\n");
  await mkdir(toolsFolder(env), { recursive: true });
  // Filled beside its place and renamed, so that no half folder is ever used.
  const temporary = await mkdtemp(join(toolsFolder(env), ".prometheus-"));
  try {
    await unpack(apt, temporary, env);
    await rm(folder, { recursive: true, force: true });
    await rename(join(temporary, "programs"), folder);
    if (await works(folder, env)) return folder;
    process.stderr.write(`error: \`${folder}\` holds a prometheus that does not run or is older than ${MINIMUM.join(".")}\n`);
    return null;
  } catch (error) {
    if (await works(folder, env)) return folder; // Another run was faster.
    const text = error instanceof CommandError ? error.message : `\`${folder}\`: ${error.message}`;
    process.stderr.write(`error: ${text}\n`);
    return null;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function unpack(apt, temporary, env) {
  const download = () => capture("apt-get", ["download", "-q", "prometheus"], { cwd: temporary, env, timeoutMs: DOWNLOAD_TIMEOUT_MS });
  try {
    await download();
  } catch (error) {
    if (!(error instanceof CommandError) || !apt.mayInstall) throw error;
    // The lists are older than what the server has, or are not there.
    await apt.update();
    await download();
  }
  const archive = (await readdir(temporary)).find((name) => name.endsWith(".deb"));
  if (!archive) throw new Error("apt-get downloaded nothing");
  await capture("dpkg-deb", ["-x", join(temporary, archive), join(temporary, "tree")], { env, timeoutMs: 120_000 });
  await mkdir(join(temporary, "programs"));
  for (const program of PROGRAMS) {
    const place = join(temporary, "programs", program);
    await copyFile(join(temporary, "tree", "usr", "bin", program), place);
    await chmod(place, 0o755);
  }
}

async function works(folder, env) {
  for (const program of PROGRAMS) {
    const there = await access(join(folder, program)).then(() => true, () => false);
    if (!there || !(await isNewEnough(join(folder, program), env))) return false;
  }
  return true;
}

async function isNewEnough(program, env) {
  // Older versions write it to standard error, which is joined here.
  const text = await tryCapture("sh", ["-c", '"$0" --version 2>&1', program], { env, timeoutMs: 60_000 });
  return isAtLeast(parseVersion(text?.replace(/^\S+, version /, "")), MINIMUM);
}

/** The folder on the PATH that holds both. */
async function onPath(env) {
  for (const folder of (env.PATH ?? "").split(":").filter(Boolean)) {
    if (await works(folder, env)) return folder;
  }
  return null;
}
