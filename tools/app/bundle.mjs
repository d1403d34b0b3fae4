#!/usr/bin/env node
// `npm run app:bundle`: the desktop app as packages that can be installed, made from what
// cargo and vite have built. Deliberately absent: publishing them.

import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { provideNodePackages } from "../setup/node-packages.mjs";
import { ROOT, targetFolder, toolsFolder } from "../setup/paths.mjs";
import { BUILD_PROGRAMS, prepare } from "../setup/prepare.mjs";
import { capture, passThrough } from "../setup/run.mjs";
import { program, stage } from "./stage.mjs";

const HELP = `usage: npm run app:bundle -- [--profile dev|release] [--no-build] [--installers KINDS [--name NAME]]

Builds the desktop app and what it needs, and makes a .deb, an .rpm and a .tar.gz of it.

  --profile     release (by default), or dev: the programs that tests use, without symbols
  --no-build    takes the programs and the window as they are
  --installers  other kinds than deb,rpm: appimage on Linux, app,dmg on macOS, nsis on Windows;
                these download tools of the bundler's, so they are made by the hosted workflow
  --name        what the platform is called in the names of the installers: darwin-aarch64
`;

/** Endings of what a person installs, and of what the updater takes, with its signature. */
const INSTALLERS = /\.(deb|rpm|AppImage|dmg|app\.tar\.gz|exe)(\.sig)?$/;

/**
 * Makes the bundles.
 * @param {{profile: "dev" | "release", kinds: string[], name: string | null, env: NodeJS.ProcessEnv}} of
 * @returns {Promise<string[]>} their paths
 */
export async function bundle({ profile, kinds, name, env }) {
  const built = join(targetFolder(env), folderOf(profile));
  const triple = await hostTriple(env);
  await stage({ built, tools: toolsFolder(env), triple, env });

  // The bundler writes into the program that it packs, so it gets a build folder with a copy.
  const target = join(targetFolder(env), "app-bundle");
  await rm(target, { recursive: true, force: true });
  await mkdir(join(target, folderOf(profile)), { recursive: true });
  const desktop = `loqa-desktop${process.platform === "win32" ? ".exe" : ""}`;
  await program(join(built, desktop), join(target, folderOf(profile), desktop), env);
  const cli = join(ROOT, "node_modules", "@tauri-apps", "cli", "tauri.js");
  const args = ["bundle", "--bundles", kinds.join(","), "--config", join("src-tauri", "tauri.bundle.conf.json")];
  const updater = updaterSettings(env);
  if (updater) args.push("--config", JSON.stringify({ ...updater, bundle: { createUpdaterArtifacts: true } }));
  if (profile === "dev") args.push("--debug");
  const bundler = { ...withoutEmpty(env), CARGO_TARGET_DIR: target, CI: "true" };
  if ((await passThrough(process.execPath, [cli, ...args], { cwd: ROOT, env: bundler })) !== 0) throw new Error("the bundler failed; its words stand above");

  const out = join(targetFolder(env), "bundle", profile);
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const made = [];
  const bundles = join(target, folderOf(profile), "bundle");
  for (const kind of await readdir(bundles)) {
    for (const file of await readdir(join(bundles, kind))) {
      if (!INSTALLERS.test(file)) continue;
      const path = join(out, name ? named(file, name) : file);
      await cp(join(bundles, kind, file), path);
      made.push(path);
    }
  }
  const deb = made.find((path) => path.endsWith(".deb"));
  if (deb) made.push(await archive(deb, out, target, env));
  await rm(target, { recursive: true, force: true });
  await writeFile(join(out, "SHA256SUMS"), await sums(made));
  return made;
}

/**
 * Whom the app asks for updates and whose signature it takes, where the hosted workflow says
 * so and holds the key to sign with; the app's own build reads the same.
 */
export function updaterSettings({ UPDATER_PUBLIC_KEY: pubkey, UPDATER_ENDPOINT: endpoint, TAURI_SIGNING_PRIVATE_KEY: key }) {
  return pubkey && endpoint && key ? { plugins: { updater: { pubkey, endpoints: [endpoint] } } } : null;
}

/** `Loqa_1.2.3_x64-setup.exe` of `windows-x86_64` becomes `Loqa_1.2.3-windows-x86_64-setup.exe`. */
export function named(file, name) {
  const [, product, version, ending] = /^(Loqa)(?:[_-](\d[\d.]*\d))?.*?((?:-setup\.exe|\.app\.tar\.gz|\.[A-Za-z]+)(?:\.sig)?)$/.exec(file) ?? [];
  if (!product) return file;
  return `${product}${version ? `_${version}` : ""}-${name}${ending}`;
}

/** A secret that a fork does not have comes as an empty text, which the bundler would take for a wrong one. */
function withoutEmpty(env) {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
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
  const rest = [...args];
  const taken = (option, otherwise) => {
    const at = rest.indexOf(option);
    return at < 0 ? otherwise : rest.splice(at, 2)[1];
  };
  const profile = taken("--profile", "release");
  const kinds = taken("--installers", "deb,rpm").split(",");
  const name = taken("--name", null);
  const unknown = rest.find((arg) => arg !== "--no-build");
  if (unknown || (profile !== "dev" && profile !== "release")) {
    process.stderr.write(`error: ${unknown ? `unknown option \`${unknown}\`` : "a profile is dev or release"}\n\n${HELP}`);
    return 2;
  }
  const env = await prepare();
  if (!env || !(await provideNodePackages(env))) return 1;
  if (!args.includes("--no-build")) {
    if ((await passThrough("npm", ["run", "--silent", "ui:build"], { cwd: ROOT, env })) !== 0) return 1;
    const cargo = [...BUILD_PROGRAMS, ...(profile === "release" ? ["--release"] : [])];
    const updater = updaterSettings(env);
    const building = updater ? { ...env, TAURI_CONFIG: JSON.stringify(updater) } : env;
    if ((await passThrough("cargo", cargo, { cwd: ROOT, env: building })) !== 0) return 1;
  }
  for (const path of await bundle({ profile, kinds, name, env })) {
    const { size } = await stat(path);
    process.stdout.write(`${path}  ${(size / 1e6).toFixed(1)} MB\n`);
  }
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
