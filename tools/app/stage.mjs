// Lays out what a bundle of the desktop app holds besides the app's own program, where
// `src-tauri/tauri.bundle.conf.json` looks for it. Deliberately absent: building anything.

import { access, chmod, cp, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "../setup/paths.mjs";
import { capture } from "../setup/run.mjs";
import { writeNotices } from "./licences.mjs";

/** What the bundle's configuration names; below it nothing is kept by git. */
export const STAGE = join(ROOT, "src-tauri", "gen", "bundle");
const EXE = process.platform === "win32" ? ".exe" : "";
/** Programs beside the app, by what cargo calls them. */
const PROGRAMS = ["loqa", "loqa-stt", "loqa-llm", "loqa-tts"];
/** Skills in WebAssembly that come with Loqa. */
const SKILLS = ["timer", "shopping-list", "weather"];
const RUNTIME = { linux: "libonnxruntime.so.1", darwin: "libonnxruntime.dylib", win32: "onnxruntime.dll" }[process.platform];

/**
 * @param {{built: string, tools: string, triple: string, env: NodeJS.ProcessEnv}} from
 *   `built`: folder of the built programs; `tools`: of the fetched ones; `triple`: Rust's name of this platform
 */
export async function stage({ built, tools, triple, env }) {
  await rm(STAGE, { recursive: true, force: true });
  const programs = join(STAGE, "programs");
  // On Windows what is no program lies in a folder beside the programs, elsewhere in one of its own.
  const files = process.platform === "win32" ? join(STAGE, "files", "resources") : join(STAGE, "files");
  for (const folder of [programs, files, join(STAGE, "frameworks")]) await mkdir(folder, { recursive: true });

  for (const name of PROGRAMS) await program(join(built, name + EXE), join(programs, `${name}-${triple}${EXE}`), env);
  // As it was fetched, so that its digest is the pinned one.
  const nats = join(programs, `loqa-nats-${triple}${EXE}`);
  await file(join(tools, "nats", `nats-server${EXE}`), nats);
  await chmod(nats, 0o755);

  const runtime = join(tools, "onnxruntime", RUNTIME);
  if (process.platform === "darwin") await file(runtime, join(STAGE, "frameworks", RUNTIME));
  // Beside the programs, the only place where Windows looks that others cannot write to.
  else if (process.platform === "win32") await file(runtime, join(STAGE, "files", RUNTIME));
  else await file(runtime, join(files, RUNTIME));

  await file(join(ROOT, "models", "catalog.toml"), join(files, "models", "catalog.toml"));
  await folder(join(ROOT, "models", "starter"), join(files, "models", "starter"));
  for (const name of SKILLS) await folder(join(ROOT, "skills", name, "dist"), join(files, "skills", name));
  await file(join(ROOT, "skills", "smart-home", "skill.yaml"), join(files, "skills", "smart-home", "skill.yaml"));
  await program(join(built, `smart-home${EXE}`), join(files, "skills", "smart-home", `smart-home${EXE}`), env);
  await folder(join(ROOT, "ui", "dist"), join(files, "ui"));

  for (const name of ["LICENSE-MIT", "LICENSE-APACHE", "NOTICE"]) await file(join(ROOT, name), join(files, "licences", name));
  await folder(join(ROOT, "src-tauri", "licences"), join(files, "licences"));
  await writeNotices(join(files, "licences", "THIRD-PARTY.txt"), { triple, env });
  await file(join(ROOT, "NOTICE"), join(STAGE, "copyright"));
}

/** A copy without symbols: they are most of a program that was built for development. */
export async function program(from, to, env) {
  await file(from, to);
  await chmod(to, 0o755);
  if (process.platform === "linux") await capture("strip", ["--strip-all", to], { env });
  if (process.platform === "darwin") await capture("strip", ["-x", to], { env });
}

async function file(from, to) {
  await access(from).catch(() => {
    throw new Error(`\`${from}\` is missing: run \`npm run app:bundle\` without --no-build`);
  });
  await mkdir(join(to, ".."), { recursive: true });
  await cp(from, to);
  await chmod(to, 0o644);
}

/** A folder, with the rights that a package needs whatever the umask was. */
async function folder(from, to) {
  const entries = await readdir(from, { withFileTypes: true }).catch(() => []);
  if (entries.length === 0) throw new Error(`\`${from}\` is empty or missing: run \`npm run app:bundle\` without --no-build`);
  for (const entry of entries) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    await (entry.isDirectory() ? folder(source, target) : file(source, target));
  }
}
