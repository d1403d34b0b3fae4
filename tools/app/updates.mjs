#!/usr/bin/env node
// Writes `latest.json`, which the app's updater asks for: the newest version, and for each
// platform where its installer lies and the signature that it must have. An installer that
// nobody signed is not in it; without any, nothing is written.
//
// usage: node tools/app/updates.mjs FOLDER TAG ADDRESS

import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The installers that the updater can put in place by itself, by platform. */
const UPDATABLE = /^Loqa.*-(linux-x86_64|darwin-aarch64|darwin-x86_64|windows-x86_64)(\.AppImage|\.app\.tar\.gz|-setup\.exe)$/;

/** @returns {Promise<object | null>} what stands in the file */
export async function latest(folder, tag, address) {
  const platforms = {};
  const names = new Set(await readdir(folder));
  for (const name of names) {
    const platform = UPDATABLE.exec(name)?.[1];
    if (!platform || !names.has(`${name}.sig`)) continue;
    const signature = (await readFile(join(folder, `${name}.sig`), "utf8")).trim();
    platforms[platform] = { signature, url: `${address}/${encodeURIComponent(name)}` };
  }
  if (Object.keys(platforms).length === 0) return null;
  return { version: tag.replace(/^v/, ""), pub_date: new Date().toISOString(), platforms };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, tag, address] = process.argv.slice(2);
  if (!address) {
    process.stderr.write("usage: node tools/app/updates.mjs FOLDER TAG ADDRESS\n");
    process.exitCode = 2;
  } else {
    const found = await latest(folder, tag, address);
    if (found) await writeFile(join(folder, "latest.json"), `${JSON.stringify(found, null, 2)}\n`);
    else process.stdout.write("no installer is signed, so there is no latest.json\n");
  }
}
