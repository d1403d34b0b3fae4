// Finds a Rust that is new enough, or says how to get one. The user's default
// tool chain is never changed: what is chosen is passed to our children by
// RUSTUP_TOOLCHAIN.

import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { capture, tryCapture } from "./run.mjs";
import { isAtLeast, parseVersion, showVersion } from "./versions.mjs";

/** The workspace's `rust-version`; extism 1.41 needs it. */
export const MINIMUM_RUST = [1, 96, 0];
/** What rustup is asked for where no newer one is installed. */
const RUSTUP_RELEASE = "1.96.0";
/** Debian's own packages of a current Rust, beside the release's old one. */
export const DEBIAN_RUST_PACKAGES = ["rustc-web", "cargo-web", "rust-web-src", "rustfmt-web", "rust-web-clippy", "lld"];
/** The name under which rustup knows Debian's Rust. */
export const DEBIAN_TOOLCHAIN = "debian-1.96";

/**
 * What is there.
 * @typedef {object} RustFacts
 * @property {string | null} forced `RUSTUP_TOOLCHAIN` of the user
 * @property {[number, number, number] | null} current version that `cargo` gives now
 * @property {boolean} rustup
 * @property {{name: string, version: [number, number, number] | null}[]} toolchains rustup's, newest not first
 * @property {[number, number, number] | null} system version of /usr/bin/cargo
 * @property {boolean} apt whether this is Debian or Ubuntu
 * @property {[number, number, number] | null} aptCandidate version of Debian's cargo-web
 */

/**
 * Decides from the facts alone.
 * @param {RustFacts} facts
 * @returns {{action: "use", toolchain: string | null, version: number[]} | {action: "link", version: number[]}
 *   | {action: "apt"} | {action: "rustup"} | {action: "ask", message: string}}
 */
export function decideRust(facts) {
  const enough = (version) => isAtLeast(version, MINIMUM_RUST);
  if (enough(facts.current)) return { action: "use", toolchain: facts.forced, version: facts.current };
  const installed = facts.toolchains.filter(({ version }) => enough(version));
  if (installed.length > 0) {
    const { name, version } = installed.find(({ name }) => name === DEBIAN_TOOLCHAIN) ?? installed[0];
    return { action: "use", toolchain: name, version };
  }
  if (enough(facts.system)) {
    // Without rustup, /usr/bin/cargo would be the current one: another cargo stands before it.
    return facts.rustup ? { action: "link", version: facts.system } : { action: "use", toolchain: null, version: facts.system, system: true };
  }
  if (facts.apt && enough(facts.aptCandidate)) return { action: "apt" };
  if (facts.rustup) return { action: "rustup" };
  const found = facts.current ? `found ${showVersion(facts.current)}` : "found none";
  return {
    action: "ask",
    message: `Rust ${showVersion(MINIMUM_RUST)} or newer is needed, ${found}; install it from https://rustup.rs or, with rustup: rustup toolchain install ${RUSTUP_RELEASE}`,
  };
}

/** Looks at the machine. */
export async function rustFacts(env, { apt }) {
  const cargo = await tryCapture("cargo", ["--version"], { env });
  const list = await tryCapture("rustup", ["toolchain", "list"], { env });
  const toolchains = [];
  for (const line of (list ?? "").split("\n")) {
    const name = line.split(/\s/)[0];
    if (!name || name === "no") continue;
    const version = parseVersion(await tryCapture("rustup", ["run", name, "cargo", "--version"], { env }));
    toolchains.push({ name, version });
  }
  return {
    forced: env.RUSTUP_TOOLCHAIN ?? null,
    current: parseVersion(cargo),
    rustup: list !== null,
    toolchains,
    system: parseVersion(await tryCapture("/usr/bin/cargo", ["--version"], { env })),
    apt: apt !== null,
    aptCandidate: apt ? parseVersion(await apt.candidate("cargo-web")) : null,
  };
}

/** The environment in which rustup's own folder is found, also where the shell did not add it. */
export async function withCargoOnPath(env) {
  const home = env.CARGO_HOME ?? (env.HOME || env.USERPROFILE ? join(env.HOME || env.USERPROFILE, ".cargo") : null);
  if (!home) return env;
  const folder = join(home, "bin");
  const path = env.PATH ?? env.Path ?? "";
  if (path.split(delimiter).includes(folder)) return env;
  try {
    await access(folder);
  } catch {
    return env;
  }
  return { ...env, PATH: `${folder}${delimiter}${path}` };
}

/**
 * Looks and decides. A machine that never read its package lists reads them first.
 * @returns {Promise<ReturnType<typeof decideRust>>}
 */
export async function planRust({ env, report, apt, check }) {
  const decision = decideRust(await rustFacts(env, { apt }));
  if (check || !apt?.mayInstall || (decision.action !== "ask" && decision.action !== "rustup")) return decision;
  report.progress("reading the package lists");
  try {
    await apt.update();
  } catch (error) {
    // rustup may still bring a Rust.
    report.warn(error.message);
    return decision;
  }
  return decideRust(await rustFacts(env, { apt }));
}

/**
 * Makes a new enough Rust available. Debian's packages were installed before,
 * together with the others that were missing.
 * @returns {Promise<{state: "ok" | "done" | "missing", detail: string, env: NodeJS.ProcessEnv, version?: string}>}
 */
export async function provideRust({ env, report, apt, check }) {
  let decision = decideRust(await rustFacts(env, { apt }));
  let state = "ok";
  if (check && decision.action !== "use") {
    return { state: "missing", detail: decision.message ?? `Rust ${showVersion(MINIMUM_RUST)} or newer is not set up`, env };
  }
  if (decision.action === "link") {
    try {
      await capture("rustup", ["toolchain", "link", DEBIAN_TOOLCHAIN, "/usr"], { env });
    } catch (error) {
      return { state: "missing", detail: error.message, env };
    }
    state = "done";
    decision = { action: "use", toolchain: DEBIAN_TOOLCHAIN, version: decision.version };
  }
  if (decision.action === "rustup") {
    report.progress(`installing Rust ${RUSTUP_RELEASE} with rustup; your default tool chain stays as it is`);
    const install = ["toolchain", "install", RUSTUP_RELEASE];
    const args = [...install, "--profile", "minimal", "--component", "clippy", "--component", "rustfmt", "--no-self-update"];
    try {
      await capture("rustup", args, { env, timeoutMs: 20 * 60 * 1000 });
    } catch (error) {
      const need = `Rust ${showVersion(MINIMUM_RUST)} or newer is needed; run: rustup ${install.join(" ")}`;
      return { state: "missing", detail: `${error.message}\n${need}`, env };
    }
    state = "done";
    decision = { action: "use", toolchain: RUSTUP_RELEASE, version: parseVersion(RUSTUP_RELEASE) };
  }
  if (decision.action !== "use") return { state: "missing", detail: decision.message ?? "the packages with Rust are missing", env };
  const chosen = decision.system ? { ...env, PATH: `/usr/bin${delimiter}${env.PATH}` } : { ...env };
  if (decision.toolchain) chosen.RUSTUP_TOOLCHAIN = decision.toolchain;
  const through = decision.toolchain ? ` (tool chain ${decision.toolchain})` : "";
  return { state, detail: `${showVersion(decision.version)}${through}`, env: chosen, version: showVersion(decision.version) };
}
