// End to end: the window in Debian's Chromium over a real hub (`tests/e2e/hub.ts` starts it
// and ends it), and every screen in every state over a made-up one for axe. Waits are long
// and for conditions only; the machine may be busy.

import { defineConfig } from "@playwright/test";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { browser, GALLERY_URL, galleryServer } from "./tests/e2e/browser";

const here = dirname(fileURLToPath(import.meta.url));

export default defineConfig({
  testDir: `${here}/tests/e2e`,
  outputDir: `${here}/test-results`,
  workers: 1,
  fullyParallel: false,
  timeout: 120_000,
  expect: { timeout: 60_000 },
  reporter: [["list"]],
  use: { ...browser, actionTimeout: 60_000, navigationTimeout: 60_000, baseURL: GALLERY_URL },
  webServer: galleryServer,
});
