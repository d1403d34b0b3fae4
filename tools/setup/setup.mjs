// The steps of set-up, in order. Each step looks first and changes only what is
// missing; a step that cannot be done says what the user can do. With `check`
// nothing is changed.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fetchTool, stateOf } from "./fetch.mjs";
import { findApt, providePackages } from "./packages.mjs";
import { PINS, ROOT, platformKey, toolsFolder } from "./paths.mjs";
import { capture, CommandError } from "./run.mjs";
import { DEBIAN_RUST_PACKAGES, planRust, provideRust, withCargoOnPath } from "./rust.mjs";
import { isAtLeast, parseVersion } from "./versions.mjs";

const MINIMUM_NODE = [20, 0, 0];

/**
 * @typedef {{name: string, state: "ok" | "done" | "missing", detail: string}} Step
 * @param {{check?: boolean, env?: NodeJS.ProcessEnv, report: ReturnType<import("./report.mjs").createReport>}} options
 * @returns {Promise<{ok: boolean, steps: Step[], env: NodeJS.ProcessEnv, tools: string}>}
 *   `env` is what cargo and the programs of Loqa have to be run with
 */
export async function setUp({ check = false, env: given = process.env, report }) {
  const steps = [];
  const add = (name, { state, detail }) => {
    steps.push({ name, state, detail });
    report.step({ name, state, detail });
    return state !== "missing";
  };
  const tools = toolsFolder(given);
  let env = { ...(await withCargoOnPath(given)), LOQA_TOOLS: tools };

  const node = isAtLeast(parseVersion(process.versions.node), MINIMUM_NODE);
  add("Node", { state: node ? "ok" : "missing", detail: node ? process.versions.node : `20 or newer is needed, this is ${process.versions.node}` });

  const apt = await findApt(env);
  const plan = await planRust({ env, report, apt, check });
  const extra = plan.action === "apt" ? [{ name: "Rust", why: "1.96 or newer", apt: DEBIAN_RUST_PACKAGES }] : [];
  add("System packages", await providePackages({ env, report, apt, check, extra }));
  const rust = await provideRust({ env, report, apt, check });
  env = rust.env;
  const canBuild = add("Rust", rust);

  const pins = JSON.parse(await readFile(PINS, "utf8"));
  for (const tool of pins.tools) {
    add(tool.name, await provideTool(tool, join(tools, tool.folder), { check, env, report }));
  }

  if (canBuild) {
    add("Crates", await provideCrates({ check, env, report }));
    add("Skills", await provideSkills({ check, env, report }));
  } else {
    add("Skills", { state: "missing", detail: "need Rust" });
  }
  return { ok: steps.every(({ state }) => state !== "missing"), steps, env, tools };
}

/** One fetched tool: looked at first, fetched only when it is missing or differs. */
export async function provideTool(tool, folder, context) {
  const key = platformKey();
  const pin = tool.platforms[key];
  if (!pin) return { state: "missing", detail: `there is no ${tool.name} for ${key}; there is for ${Object.keys(tool.platforms).join(", ")}` };
  if (pin.libc === "glibc" && !process.report?.getReport().header.glibcVersionRuntime) {
    return { state: "missing", detail: `${tool.name} needs glibc, this system has another C library` };
  }
  const path = join(folder, pin.file);
  const state = await stateOf(path, pin);
  if (state === "present") return { state: "ok", detail: path };
  const differs = state === "wrong" ? `\`${path}\` is not the pinned file` : `\`${path}\` is missing`;
  if (context.check) return { state: "missing", detail: differs };
  if (state === "wrong") context.report.warn(`${differs}; it is replaced`);
  try {
    const { source } = await fetchTool(tool, pin, folder, context);
    return { state: "done", detail: `${path}, from ${source}` };
  } catch (error) {
    if (error.name !== "FetchError") throw error;
    return { state: "missing", detail: `${error.message}\nset LOQA_MIRROR to a folder or an address that holds the archives named in sidecars/nats-server/pins.json` };
  }
}

/** Our two workspaces: the programs and the skills. */
const WORKSPACES = [ROOT, join(ROOT, "skills")];

/** The sources of all crates, so that building needs no network afterwards. */
async function provideCrates({ check, env, report }) {
  const fetch = async (...more) => {
    for (const folder of WORKSPACES) {
      await capture("cargo", ["fetch", "--locked", ...more], { cwd: folder, env, timeoutMs: 30 * 60 * 1000 });
    }
  };
  try {
    await fetch("--offline");
    return { state: "ok", detail: "all there" };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (check) return { state: "missing", detail: "not all downloaded yet" };
  }
  report.progress("downloading the crates that the lock files name");
  try {
    await fetch();
    return { state: "done", detail: "downloaded" };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { state: "missing", detail: error.message };
  }
}

async function provideSkills({ check, env, report }) {
  if (check) {
    const built = join(ROOT, "skills", "timer", "dist", "timer.wasm");
    const there = await readFile(built).catch(() => null);
    return there ? { state: "ok", detail: "timer" } : { state: "missing", detail: `\`${built}\` is not built` };
  }
  report.progress("building the skills to WebAssembly, where their sources changed (some minutes the first time)");
  try {
    await capture("cargo", ["xtask", "skills"], { cwd: ROOT, env, timeoutMs: 30 * 60 * 1000 });
    return { state: "ok", detail: "timer" };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { state: "missing", detail: error.message };
  }
}
