// The list that the updater asks for names what was signed, and nothing else.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { latest } from "../app/updates.mjs";

test("signed installers are listed by platform, others are not", async () => {
  const folder = await mkdtemp(join(tmpdir(), "loqa-updates-"));
  try {
    const files = ["Loqa_1.2.3-linux-x86_64.AppImage", "Loqa_1.2.3-darwin-aarch64.app.tar.gz", "Loqa_1.2.3-windows-x86_64-setup.exe", "Loqa_1.2.3-linux-x86_64.deb"];
    for (const name of files) await writeFile(join(folder, name), "x");
    assert.equal(await latest(folder, "v1.2.3", "https://example.org/r"), null, "nothing is signed");
    for (const name of files.filter((name) => !name.includes("windows"))) await writeFile(join(folder, `${name}.sig`), `of ${name}\n`);
    const { version, platforms } = await latest(folder, "v1.2.3", "https://example.org/r");
    assert.equal(version, "1.2.3");
    assert.deepEqual(platforms, {
      "linux-x86_64": { signature: `of ${files[0]}`, url: `https://example.org/r/${files[0]}` },
      "darwin-aarch64": { signature: `of ${files[1]}`, url: `https://example.org/r/${files[1]}` },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
