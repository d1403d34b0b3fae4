#!/usr/bin/env node
// `npm run app:bundle`: the desktop app as a package that can be installed. Linux only: the
// other systems' installers are made by the hosted workflow, with the same configuration.

import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { provideNodePackages } from "../setup/node-packages.mjs";
import { ROOT, targetFolder, toolsFolder } from "../setup/paths.mjs";
import { BUILD_PROGRAMS, prepare } from "../setup/prepare.mjs";
import { capture, passThrough } from "../setup/run.mjs";
import { program, stage } from "./stage.mjs";

const HELP = `usage: npm run app:bundle -- [--profile dev|release] [--no-build] [--stage]

Builds the desktop app and what it needs, and makes a .deb, an .rpm and a .tar.gz.

  --profile   release (by default), or dev: the programs that tests use, without symbols
  --no-build  takes the programs and the window as they are
  --stage     only lays out what \`tauri build\` puts into a bundle (for the hosted workflow)
`;

/** Makes the bundles. @returns {Promise<string[]>} their paths */
export async function bundle({ profile, env }) {
  const built = join(targetFolder(env), folderOf(profile));
  const triple = await hostTriple(env);
  await stage({ built, tools: toolsFolder(env), triple, env });

  // The bundler writes into the program that it packs, so it gets a build folder with a copy.
  const target = join(targetFolder(env), "app-bundle");
  await rm(target, { recursive: true, force: true });
  await mkdir(join(target, folderOf(profile)), { recursive: true });
  await program(join(built, "loqa-desktop"), join(target, folderOf(profile), "loqa-desktop"), env);
  const cli = join(ROOT, "node_modules", "@tauri-apps", "cli", "tauri.js");
  const args = ["bundle", "--bundles", "deb,rpm", "--no-sign", "--config", join("src-tauri", "tauri.bundle.conf.json")];
  if (profile === "dev") args.push("--debug");
  const bundler = { ...env, CARGO_TARGET_DIR: target, CI: "true" };
  if ((await passThrough(process.execPath, [cli, ...args], { cwd: ROOT, env: bundler })) !== 0) throw new Error("the bundler failed; its words stand above");

  const out = join(targetFolder(env), "bundle", profile);
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const made = [];
  for (const kind of ["deb", "rpm"]) {
    const folder = join(target, folderOf(profile), "bundle", kind);
    for (const name of await readdir(folder)) {
      if (!name.endsWith(`.${kind}`)) continue;
      await cp(join(folder, name), join(out, name));
      made.push(join(out, name));
    }
  }
  made.push(await archive(made.find((path) => path.endsWith(".deb")), out, target, env));
  await rm(target, { recursive: true, force: true });
  await writeFile(join(out, "SHA256SUMS"), await sums(made));
  return made;
}

/** The tree of the package as an archive, for systems without either kind of package. */
async function archive(deb, out, scratch, env) {
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const name = `loqa-${version}-linux-${process.arch}`;
  const tree = join(scratch, name);
  await capture("dpkg-deb", ["--extract", deb, tree], { env });
  const path = join(out, `${name}.tar.gz`);
  const owner = ["--owner=0", "--group=0", "--numeric-owner"];
  await capture("tar", ["-C", scratch, ...owner, `--transform=s,^${name}/usr,${name},`, "-czf", path, `${name}/usr`], { env });
  return path;
}

async function sums(paths) {
  const lines = [];
  for (const path of paths) lines.push(`${createHash("sha256").update(await readFile(path)).digest("hex")}  ${basename(path)}\n`);
  return lines.join("");
}

function folderOf(profile) {
  return profile === "release" ? "release" : "debug";
}

async function hostTriple(env) {
  const told = await capture("rustc", ["-vV"], { env });
  return /^host: (\S+)/m.exec(told)[1];
}

async function main(args) {
  if (args.includes("--help")) {
    process.stdout.write(HELP);
    return 0;
  }
  const at = args.indexOf("--profile");
  const profile = at < 0 ? "release" : args[at + 1];
  const rest = args.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const unknown = rest.find((arg) => arg !== "--no-build" && arg !== "--stage");
  if (unknown || (profile !== "dev" && profile !== "release")) {
    process.stderr.write(`error: ${unknown ? `unknown option \`${unknown}\`` : "a profile is dev or release"}\n\n${HELP}`);
    return 2;
  }
  const env = await prepare();
  if (!env || !(await provideNodePackages(env))) return 1;
  if (!args.includes("--no-build")) {
    if ((await passThrough("npm", ["run", "--silent", "ui:build"], { cwd: ROOT, env })) !== 0) return 1;
    const cargo = [...BUILD_PROGRAMS, ...(profile === "release" ? ["--release"] : [])];
    if ((await passThrough("cargo", cargo, { cwd: ROOT, env })) !== 0) return 1;
  }
  if (args.includes("--stage")) {
    await stage({ built: join(targetFolder(env), folderOf(profile)), tools: toolsFolder(env), triple: await hostTriple(env), env });
    return 0;
  }
  if (process.platform !== "linux") {
    process.stderr.write("error: on this system the hosted workflow makes the installer: .github/workflows/release.yml\n");
    return 1;
  }
  for (const path of await bundle({ profile, env })) {
    const { size } = await stat(path);
    process.stdout.write(`${path}  ${(size / 1e6).toFixed(1)} MB\n`);
  }
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
