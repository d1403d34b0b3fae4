#!/usr/bin/env node
// `npm run icons`: makes every icon of the app from the one in `icons/`, where people draw.
// With `--check` nothing is written, and a file that is not what its source makes is an error.
// Not for the signs in the tray and in the window: code draws those, by what Loqa does.

import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { provideNodePackages } from "./setup/node-packages.mjs";
import { ROOT } from "./setup/paths.mjs";
import { capture } from "./setup/run.mjs";

/** What the systems want of the app: Linux by size, macOS and Windows in one file each. */
const APP = ["32x32.png", "128x128.png", "128x128@2x.png", "icon.png", "icon.icns", "icon.ico"];

/** Every generated file by its path in the repository. */
export async function draw() {
  const folder = await mkdtemp(join(tmpdir(), "loqa-icons-"));
  const files = new Map();
  try {
    const source = join(ROOT, "icons", "loqa.svg");
    await tauriIcon(source, join(folder, "app"));
    for (const name of APP) {
      const drawn = await readFile(join(folder, "app", name));
      files.set(`src-tauri/icons/${name}`, name.endsWith(".icns") ? inOrder(drawn) : drawn);
    }
    // The tab of a browser shows the same.
    files.set("ui/public/icon.svg", await readFile(source));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return files;
}

/** The pictures in an .icns file by the names of their kinds: the tool writes them in any order. */
export function inOrder(icns) {
  const pictures = [];
  for (let at = 8; at < icns.length; at += icns.readUInt32BE(at + 4)) pictures.push(icns.subarray(at, at + icns.readUInt32BE(at + 4)));
  const kind = (picture) => picture.toString("latin1", 0, 4);
  pictures.sort((a, b) => (kind(a) < kind(b) ? -1 : 1));
  return Buffer.concat([icns.subarray(0, 8), ...pictures]);
}

/** Paths whose file is missing or another than its source makes. */
export async function stale(files) {
  const wrong = [];
  for (const [path, wanted] of files) {
    const there = await readFile(join(ROOT, path)).catch(() => null);
    if (!there?.equals(wanted)) wrong.push(path);
  }
  return wrong;
}

async function tauriIcon(source, folder) {
  const cli = join(ROOT, "node_modules", "@tauri-apps", "cli", "tauri.js");
  await capture(process.execPath, [cli, "icon", source, "-o", folder], { cwd: ROOT, timeoutMs: 120_000 });
}

async function main(args) {
  const unknown = args.find((arg) => arg !== "--check");
  if (unknown) {
    process.stderr.write(`error: unknown option \`${unknown}\`; there is only --check\n`);
    return 2;
  }
  if (!(await provideNodePackages(process.env))) return 1;
  const files = await draw();
  const wrong = await stale(files);
  if (args.includes("--check")) {
    for (const path of wrong) process.stderr.write(`error: ${path} is not what its source in icons/ makes: run \`npm run icons\`\n`);
    return wrong.length === 0 ? 0 : 1;
  }
  for (const path of wrong) {
    await mkdir(join(ROOT, dirname(path)), { recursive: true });
    await writeFile(join(ROOT, path), files.get(path));
    process.stdout.write(`wrote ${relative(".", join(ROOT, path))}\n`);
  }
  if (wrong.length === 0) process.stdout.write("every icon is what its source makes\n");
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
