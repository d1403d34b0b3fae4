// The browser in which `npm test` uses the window: Debian's Chromium, or the one that
// $LOQA_TEST_CHROMIUM names. Nothing is downloaded but by the system's own package manager.

import { access } from "node:fs/promises";
import { findApt } from "./packages.mjs";

/** Chromium, and letters for it to draw. */
const PACKAGES = ["chromium", "fonts-noto-core"];
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

async function find(env) {
  for (const path of [env.LOQA_TEST_CHROMIUM, ...PLACES]) {
    if (!path) continue;
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return null;
}

/** Installs it if it is missing, or says how. @returns {Promise<string | null>} its path */
export async function provideBrowser(env) {
  const there = await find(env);
  if (there) return there;
  const apt = await findApt(env);
  if (!apt) {
    process.stderr.write("error: the tests of the window need Chromium; install it, or set LOQA_TEST_CHROMIUM to its path\n");
    return null;
  }
  process.stderr.write(`  … installing ${PACKAGES.join(" ")} for the tests of the window\n`);
  try {
    await apt.install(PACKAGES);
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    return null;
  }
  return find(env);
}
