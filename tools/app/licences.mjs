// The licences of everything that is linked into the programs or shown in the window: the
// texts that the crates and packages bring, each once, under the names of those it covers.

import { readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ROOT } from "../setup/paths.mjs";
import { capture } from "../setup/run.mjs";

const IS_LICENCE = /^(licen[cs]e|copying|copyright|notice|unlicense)/i;

/** Writes the list. @param {{triple: string, env: NodeJS.ProcessEnv}} of the platform that is built for */
export async function writeNotices(path, { triple, env }) {
  const parts = [...(await crates(triple, env)), ...(await packages())].sort((a, b) => (a.name < b.name ? -1 : 1));
  const byText = new Map();
  const without = [];
  for (const part of parts) {
    const texts = await licenceTexts(part.folder);
    if (texts.length === 0) without.push(part);
    for (const text of texts) byText.set(text, [...(byText.get(text) ?? []), part]);
  }
  const out = ["Loqa contains the work of others. Their licences follow, each with the parts that it covers.\n"];
  for (const [text, covered] of byText) out.push(`${"=".repeat(78)}\n${covered.map(name).join("\n")}\n${"-".repeat(78)}\n${text.trimEnd()}\n`);
  if (without.length > 0) {
    out.push(`${"=".repeat(78)}\nThese bring no text of their own and are under the licence that they name:\n`);
    out.push(`${without.map(name).join("\n")}\n`);
  }
  await writeFile(path, out.join("\n"));
}

function name({ name, version, licence }) {
  return `${name} ${version} (${licence ?? "licence not named"})`;
}

/** What the workspace's programs are linked with; what only builds or tests them is left out. */
async function crates(triple, env) {
  const args = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", triple];
  const { packages, resolve, workspace_members } = JSON.parse(await capture("cargo", args, { cwd: ROOT, env }));
  const byId = new Map(packages.map((found) => [found.id, found]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const seen = new Set();
  const visit = [...workspace_members];
  while (visit.length > 0) {
    const id = visit.pop();
    if (seen.has(id)) continue;
    seen.add(id);
    const linked = nodes.get(id).deps.filter(({ dep_kinds }) => dep_kinds.some(({ kind }) => kind === null));
    visit.push(...linked.map(({ pkg }) => pkg));
  }
  return [...seen]
    .map((id) => byId.get(id))
    .filter(({ source }) => source !== null)
    .map(({ name, version, license, manifest_path }) => ({ name, version, licence: license, folder: dirname(manifest_path) }));
}

/** The packages of the window that end up in `ui/dist`. */
async function packages() {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const found = [];
  for (const name of ["svelte", ...Object.keys(dependencies)]) {
    const folder = join(ROOT, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    found.push({ name, version, licence: license, folder });
  }
  return found;
}

/** Those of the folder, and of the sources of others that it carries in folders of their own (ggml). */
async function licenceTexts(folder, depth = 1) {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const texts = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isFile() && IS_LICENCE.test(entry.name)) texts.push((await readFile(path, "utf8")).replaceAll("\r\n", "\n"));
    if (entry.isDirectory() && depth > 0 && entry.name !== "node_modules") texts.push(...(await licenceTexts(path, depth - 1)));
  }
  return texts;
}
