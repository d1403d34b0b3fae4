// What the build needs from the operating system. On Debian and Ubuntu the
// missing packages are installed, as root or by sudo without a password; anyone
// else is told the one command to run.

import { access, readFile, readdir } from "node:fs/promises";
import { findPip } from "./fetch.mjs";
import { capture, tryCapture } from "./run.mjs";

/**
 * What is needed: how to see that it is there, and the packages that bring it.
 * `why` is shown when it is missing.
 */
const NEEDS = [
  { name: "C compiler", why: "builds SQLite, whisper.cpp and llama.cpp", apt: ["build-essential"], present: hasCompiler },
  { name: "cmake", why: "builds whisper.cpp and llama.cpp", apt: ["cmake"], present: (env) => runs("cmake", env) },
  { name: "libclang", why: "reads llama.cpp's headers", apt: ["clang", "libclang-dev"], present: hasLibclang },
  { name: "pkg-config", why: "finds the libraries below", apt: ["pkg-config"], present: (env) => runs("pkg-config", env), only: "linux" },
  { name: "ALSA headers", why: "microphone and speaker", apt: ["libasound2-dev"], present: (env) => hasLibrary("alsa", env), only: "linux" },
  // It brings the headers of GTK 3, libsoup and JavaScriptCore, which the app's crates look for as well.
  { name: "WebKitGTK headers", why: "the desktop app's window", apt: ["libwebkit2gtk-4.1-dev"], present: (env) => hasLibrary("webkit2gtk-4.1", env), only: "linux" },
  { name: "D-Bus headers", why: "the desktop app asks the desktop for light or dark", apt: ["libdbus-1-dev"], present: (env) => hasLibrary("dbus-1", env), only: "linux" },
  { name: "pip", why: "fetches nats-server and ONNX Runtime", apt: ["python3-pip"], present: async (env) => (await findPip(env)) !== null },
];

const OTHER_SYSTEMS = {
  darwin: "install them with: xcode-select --install; brew install cmake python3",
  win32: "install them with: winget install Kitware.CMake LLVM.LLVM Python.Python.3.12 Microsoft.VisualStudio.2022.BuildTools",
};

/** apt on Debian and Ubuntu, else `null`. */
export async function findApt(env) {
  if (process.platform !== "linux") return null;
  try {
    await access("/usr/bin/apt-get");
  } catch {
    return null;
  }
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  if (!isDebianLike(release)) return null;
  const prefix = process.getuid() === 0 ? [] : (await tryCapture("sudo", ["-n", "true"], { env })) !== null ? ["sudo", "-n"] : null;
  return new Apt(prefix, env);
}

/** Whether the text of /etc/os-release names Debian or a child of it. */
export function isDebianLike(release) {
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}

/** Packages cannot be installed by this user. */
export class NeedsAdministrator extends Error {
  constructor(packages) {
    super(`this needs an administrator; run this command, then set-up again:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(" ")}`);
    this.name = "NeedsAdministrator";
  }
}

class Apt {
  #prefix;
  #env;
  #updated = false;

  constructor(prefix, env) {
    this.#prefix = prefix;
    this.#env = { ...env, DEBIAN_FRONTEND: "noninteractive" };
  }

  /** Whether packages can be installed without asking anyone. */
  get mayInstall() {
    return this.#prefix !== null;
  }

  /** Version that would be installed, or `null`. */
  async candidate(name) {
    const text = await tryCapture("apt-cache", ["policy", name], { env: { ...this.#env, LC_ALL: "C" } });
    return /^\s*Candidate: (?!\(none\))(\S+)/m.exec(text ?? "")?.[1] ?? null;
  }

  async update() {
    if (this.#updated || !this.#prefix) return;
    this.#updated = true;
    await this.#run(["apt-get", "update", "-qq"]);
  }

  async install(packages) {
    if (!this.#prefix) throw new NeedsAdministrator(packages);
    await this.update();
    await this.#run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages]);
  }

  async #run(command) {
    // `sudo` drops the environment; `env` puts the one variable back.
    const [program, ...args] = [...this.#prefix, "env", "DEBIAN_FRONTEND=noninteractive", ...command];
    await capture(program, args, { env: this.#env, timeoutMs: 30 * 60 * 1000 });
  }
}

/** Names of what is missing, with the packages that bring it. */
export async function missingPackages(env) {
  const missing = [];
  for (const need of NEEDS) {
    if (need.only && need.only !== process.platform) continue;
    if (!(await need.present(env))) missing.push(need);
  }
  return missing;
}

/**
 * Installs what is missing, or says how, in one command.
 * @param {{extra: {name: string, why: string, apt: string[]}[]}} context `extra`: what else apt has to bring (Rust)
 */
export async function providePackages({ env, report, apt, check, extra }) {
  const missing = [...(await missingPackages(env)), ...extra];
  if (missing.length === 0) return { state: "ok", detail: "all there" };
  const list = missing.map(({ name, why }) => `${name} (${why})`).join(", ");
  if (check) return { state: "missing", detail: list };
  if (!apt) {
    const how = OTHER_SYSTEMS[process.platform] ?? "install them with your system's package manager";
    return { state: "missing", detail: `${list}\n${how}` };
  }
  const packages = missing.flatMap((need) => need.apt);
  report.progress(`installing ${packages.join(" ")}`);
  try {
    await apt.install(packages);
  } catch (error) {
    return { state: "missing", detail: `${list}\n${error.message}` };
  }
  const still = await missingPackages(env);
  if (still.length > 0) return { state: "missing", detail: `still missing after the installation: ${still.map(({ name }) => name).join(", ")}` };
  return { state: "done", detail: `installed ${packages.join(" ")}` };
}

async function runs(program, env) {
  return (await tryCapture(program, ["--version"], { env })) !== null;
}

async function hasCompiler(env) {
  if (process.platform === "win32") return (await tryCapture("where", ["cl"], { env })) !== null || (await hasVisualStudio(env));
  return (await runs("cc", env)) && (await runs("c++", env)) && (await runs("make", env));
}

async function hasVisualStudio(env) {
  const where = `${env["ProgramFiles(x86)"] ?? "C:\\Program Files (x86)"}\\Microsoft Visual Studio\\Installer\\vswhere.exe`;
  const found = await tryCapture(where, ["-latest", "-products", "*", "-property", "installationPath"], { env });
  return Boolean(found?.trim());
}

async function hasLibclang(env) {
  if (env.LIBCLANG_PATH) return true;
  if (process.platform === "darwin") return (await tryCapture("xcrun", ["--find", "clang"], { env })) !== null;
  if (process.platform === "win32") return exists("C:\\Program Files\\LLVM\\bin\\libclang.dll");
  // bindgen looks for libclang.so in llvm-config's folder and in the usual ones.
  const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib", ...(await llvmFolders()), ...(await multiarchFolders())];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    if (names.some((name) => /^libclang(-[\d.]+)?\.so(\.[\d.]+)*$/.test(name))) return runs("clang", env);
  }
  return false;
}

async function llvmFolders() {
  const names = await readdir("/usr/lib").catch(() => []);
  return names.filter((name) => name.startsWith("llvm-")).map((name) => `/usr/lib/${name}/lib`);
}

async function multiarchFolders() {
  const names = await readdir("/usr/lib").catch(() => []);
  return names.filter((name) => name.endsWith("-linux-gnu")).map((name) => `/usr/lib/${name}`);
}

async function hasLibrary(name, env) {
  return (await tryCapture("pkg-config", ["--exists", name], { env })) !== null;
}

function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
