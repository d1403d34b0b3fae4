// Python where it is needed: for the tests (the OpenAI and Wyoming clients,
// schemathesis: other people's programs, unmodified, that talk to a real hub) and for
// the recipes of the starter models. A virtual environment each in the tools folder,
// filled by pip from pinned digests; nothing of the system's Python is changed.

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, toolsFolder } from "./paths.mjs";
import { capture, CommandError, tryCapture } from "./run.mjs";
import { isAtLeast, parseVersion } from "./versions.mjs";

/** Every package with its version and the digests of its files. */
const REQUIREMENTS = join(ROOT, "tools", "setup", "python-tests.txt");
/** Oldest Python for which the requirements were worked out: Debian 12's. */
const MINIMUM_PYTHON = [3, 11, 0];
/** Oldest pip that fills another interpreter's environment (`--python`). */
const MINIMUM_PIP = [22, 3, 0];
/** What an environment is for, what it holds, and what fails unless all of that can be loaded. */
export const TESTS = {
  name: "tests",
  requirements: REQUIREMENTS,
  probe: "import numpy, openai, schemathesis.cli, wyoming.client",
  installTimeoutMs: 15 * 60 * 1000, // chosen: twenty megabytes on a slow line
};
/** On Linux torch brings the libraries for NVIDIA's GPUs, about 3 GB, whether there is one or not. */
export const RECIPES = {
  name: "recipes",
  requirements: join(ROOT, "models", "recipes", "requirements.txt"),
  probe: "import numpy, onnx, onnxruntime, pocketsphinx, scipy, sentencepiece, torch",
  installTimeoutMs: 2 * 3600 * 1000, // chosen: three gigabytes on a slow line
};

/** The environment's folder: one for each content of the requirements. */
export function pythonFolder(requirements, env = process.env, name = TESTS.name) {
  const digest = createHash("sha256").update(requirements).digest("hex");
  return join(toolsFolder(env), `python-${name}-${digest.slice(0, 16)}`);
}

/** Its interpreter. */
export function interpreterOf(folder, platform = process.platform) {
  return platform === "win32" ? join(folder, "Scripts", "python.exe") : join(folder, "bin", "python");
}

/**
 * Provides the environment where it is not there yet, or says how.
 * @param {NodeJS.ProcessEnv} env
 * @param {Partial<typeof TESTS>} [purpose]
 * @returns {Promise<string | null>} the interpreter, or `null` when there is none
 */
export async function providePython(env, purpose = TESTS) {
  const { name, requirements, probe, installTimeoutMs } = { ...TESTS, ...purpose };
  const folder = pythonFolder(await readFile(requirements), env, name);
  const interpreter = interpreterOf(folder);
  if (await loads(interpreter, probe, env)) return interpreter;
  const python = await findPython(env);
  if (!python) {
    process.stderr.write(`error: the ${name} need Python 3.11 or newer with pip 22.3 or newer; install them (Debian: apt-get install python3-pip)\n`);
    return null;
  }
  process.stderr.write(`  … installing the Python packages of the ${name}, once\n`);
  await mkdir(toolsFolder(env), { recursive: true });
  // Filled beside its place and renamed, so that no half environment is ever used.
  const temporary = await mkdtemp(join(toolsFolder(env), `.python-${name}-`));
  try {
    const inside = await fill(python, temporary, requirements, installTimeoutMs, env);
    await capture(inside, ["-I", "-c", probe], { env, timeoutMs: 120_000 });
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } catch (error) {
    if (await loads(interpreter, probe, env)) return interpreter; // Another run was faster.
    const text = error instanceof CommandError ? error.message : `\`${folder}\`: ${error.message}`;
    process.stderr.write(`error: ${text}\n`);
    return null;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return interpreter;
}

/** `--without-pip`: Debian's python3 makes such an environment without a further package. */
async function fill(python, folder, requirements, timeoutMs, env) {
  const [program, ...rest] = python;
  await capture(program, [...rest, "-m", "venv", "--without-pip", folder], { env, timeoutMs: 120_000 });
  const inside = interpreterOf(folder);
  const install = ["-m", "pip", "--python", inside, "install", "--quiet", "--no-input", "--disable-pip-version-check"];
  install.push("--require-hashes", "--no-deps", "--only-binary=:all:", "-r", requirements);
  await capture(program, [...rest, ...install], { env, timeoutMs });
  return inside;
}

/** The command line of a Python that is new enough and has pip, or `null`. */
async function findPython(env) {
  const newer = ["python3.11", "python3.12", "python3.13", "python3.14"].map((name) => [name]);
  const candidates = process.platform === "win32" ? [["py", "-3"], ["python"]] : [["python3"], ["python"], ...newer];
  for (const [program, ...rest] of candidates) {
    const version = parseVersion(await tryCapture(program, [...rest, "--version"], { env, timeoutMs: 60_000 }));
    if (!isAtLeast(version, MINIMUM_PYTHON)) continue;
    const pip = await tryCapture(program, [...rest, "-m", "pip", "--version"], { env, timeoutMs: 60_000 });
    if (isAtLeast(parseVersion(pip), MINIMUM_PIP)) return [program, ...rest];
  }
  return null;
}

async function loads(interpreter, probe, env) {
  return (await tryCapture(interpreter, ["-I", "-c", probe], { env, timeoutMs: 120_000 })) !== null;
}
