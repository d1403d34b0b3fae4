// Fetches one pinned file: asks the sources in order, checks the archive's
// digest before opening it and the file's digest before putting it in place.
// A source that is away or gives wrong bytes is told to the user, and the next
// one is asked. Nothing is ever used that does not have the pinned digest.

import { chmod, copyFile, mkdir, mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { readTgzMember, readZipMember } from "./archive.mjs";
import { digestOfBytes, digestOfFile } from "./digest.mjs";
import { capture, tryCapture } from "./run.mjs";

/** A fetched archive may take this long in all. Chosen: 115 MB on a slow line. */
const FETCH_TIMEOUT_MS = 15 * 60 * 1000;

/** No source gave the file; the message lists what each of them said. */
export class FetchError extends Error {
  constructor(name, failures) {
    const lines = failures.map(({ source, message }) => `  ${source}: ${message.replace(/\n/g, "\n    ")}`);
    super(`no source gave ${name}:\n${lines.join("\n")}`);
    this.name = "FetchError";
    this.failures = failures;
  }
}

/** Bytes whose digest is not the pinned one. */
export class WrongDigest extends Error {
  constructor(file, source, expected, found) {
    super(`wrong digest of \`${file}\` from ${source}\n  expected ${expected}\n  found    ${found}`);
    this.name = "WrongDigest";
  }
}

/** @returns {Promise<"present" | "absent" | "wrong">} how the file in place compares with its pins */
export async function stateOf(path, pin) {
  const found = await digestOfFile(path);
  if (found === null) return "absent";
  return pin.sources.some((source) => source.sha256 === found) ? "present" : "wrong";
}

/**
 * Puts the file in place.
 * @param {{name: string, version: string, executable: boolean}} tool
 * @param {{file: string, sources: object[]}} pin the tool's entry for this platform
 * @param {string} folder where the file goes
 * @param {{env: NodeJS.ProcessEnv, report: {progress: Function, warn: Function}}} context
 * @returns {Promise<{source: string, sha256: string}>}
 */
export async function fetchTool(tool, pin, folder, { env, report }) {
  await mkdir(folder, { recursive: true });
  const failures = [];
  for (const { label, pinned, load } of sourcesOf(pin, env)) {
    const temporary = await mkdtemp(join(folder, ".fetch-"));
    const started = Date.now();
    const size = `${Math.round(pinned.archiveSize / 1e6)} MB`;
    report.progress(`fetching ${tool.name} ${pinned.version} (${size}) from ${label}`);
    const ticker = setInterval(() => {
      report.progress(`still fetching ${tool.name} from ${label}, ${Math.round((Date.now() - started) / 1000)} s`);
    }, 10_000);
    try {
      const archive = await load(temporary);
      await checkDigest(archive, pinned.archive, label, pinned.archiveSha256);
      const read = pinned.archive.endsWith(".tgz") ? readTgzMember : readZipMember;
      const bytes = await read(archive, pinned.member, pinned.size);
      const found = digestOfBytes(bytes);
      if (found !== pinned.sha256) throw new WrongDigest(pinned.member, label, pinned.sha256, found);
      await putInPlace(bytes, temporary, join(folder, pin.file), tool.executable);
      return { source: label, sha256: found };
    } catch (error) {
      failures.push({ source: label, message: error.message });
      report.warn(`${label}: ${error.message}`);
    } finally {
      clearInterval(ticker);
      await rm(temporary, { recursive: true, force: true });
    }
  }
  throw new FetchError(`${tool.name} ${tool.version} for this machine`, failures);
}

/** The user's mirror first, then the registries in the order of the pins. */
function* sourcesOf(pin, env) {
  if (env.LOQA_MIRROR) {
    for (const pinned of pin.sources) {
      yield { label: `the mirror ${env.LOQA_MIRROR}`, pinned, load: (folder) => fromMirror(env.LOQA_MIRROR, pinned, folder) };
    }
  }
  for (const pinned of pin.sources) {
    if (pinned.kind === "wheel") {
      yield { label: `pip (${pinned.package}==${pinned.version})`, pinned, load: (folder) => fromPip(pinned, folder, env) };
    } else if (pinned.kind === "npm") {
      yield { label: `npm (${pinned.package}@${pinned.version})`, pinned, load: (folder) => fromNpm(pinned, folder, env) };
    } else {
      throw new Error(`unknown kind of source in the pins: ${pinned.kind}`);
    }
  }
}

async function checkDigest(path, name, source, expected) {
  const found = await digestOfFile(path);
  if (found !== expected) throw new WrongDigest(name, source, expected, found ?? "no file");
}

/** Writes beside the place and renames, so that no half file is ever in place. */
async function putInPlace(bytes, temporary, destination, executable) {
  const part = join(temporary, "file");
  const file = await open(part, "wx", 0o644);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  if (executable) await chmod(part, 0o755);
  await rename(part, destination);
}

/** A folder, or an http(s) address under which the archives lie by their names. */
async function fromMirror(mirror, pinned, folder) {
  const target = join(folder, pinned.archive);
  if (!/^https?:\/\//.test(mirror)) {
    const source = join(mirror.startsWith("file://") ? fileURLToPath(mirror) : mirror, pinned.archive);
    try {
      await copyFile(source, target);
    } catch (error) {
      throw new Error(error.code === "ENOENT" ? `\`${source}\` does not exist` : error.message);
    }
    return target;
  }
  const url = `${mirror.replace(/\/+$/, "")}/${encodeURIComponent(pinned.archive)}`;
  let response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  } catch (error) {
    throw new Error(`cannot be reached: ${error.cause?.message ?? error.message}`);
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`answers ${response.status} for \`${url}\``);
  }
  await pipeline(Readable.fromWeb(response.body), limited(pinned), createWriteStream(target, { flags: "wx" }));
  return target;
}

/** Stops a mirror that sends more than the archive holds. */
function limited(pinned) {
  return async function* (chunks) {
    let total = 0;
    for await (const chunk of chunks) {
      total += chunk.length;
      if (total > pinned.archiveSize) throw new Error(`sends more than the ${pinned.archiveSize} bytes of \`${pinned.archive}\``);
      yield chunk;
    }
  };
}

async function fromPip(pinned, folder, env) {
  const python = await findPip(env);
  if (!python) throw new Error("needs Python 3 with pip, which is not installed");
  const args = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir"];
  args.push("--disable-pip-version-check", "--no-input", "--platform", pinned.platform);
  if (pinned.python) args.push("--python-version", pinned.python, "--implementation", "cp", "--abi", pinned.abi);
  args.push("--dest", folder, `${pinned.package}==${pinned.version}`);
  await capture(python[0], [...python.slice(1), ...args], { env, timeoutMs: FETCH_TIMEOUT_MS });
  return expectArchive(folder, pinned);
}

/** The command line that runs a Python with pip, or `null`. */
export async function findPip(env) {
  const candidates = process.platform === "win32" ? [["py", "-3"], ["python"], ["python3"]] : [["python3"], ["python"]];
  for (const [program, ...rest] of candidates) {
    if ((await tryCapture(program, [...rest, "-m", "pip", "--version"], { env, timeoutMs: 60_000 })) !== null) return [program, ...rest];
  }
  return null;
}

async function fromNpm(pinned, folder, env) {
  const args = ["pack", `${pinned.package}@${pinned.version}`, "--silent", "--ignore-scripts"];
  await capture("npm", args, { cwd: folder, env, timeoutMs: FETCH_TIMEOUT_MS });
  return expectArchive(folder, pinned);
}

async function expectArchive(folder, pinned) {
  const path = join(folder, pinned.archive);
  try {
    await stat(path);
  } catch {
    const found = (await readdir(folder)).join(", ") || "nothing";
    throw new Error(`gave ${found} instead of \`${pinned.archive}\``);
  }
  return path;
}
