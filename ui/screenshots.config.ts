// `npm run ui:screenshots`: a picture of every screen, light and dark, into `ui/screenshots`.

import { defineConfig } from "@playwright/test";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { browser, GALLERY_URL, galleryServer } from "./tests/e2e/browser";

const here = dirname(fileURLToPath(import.meta.url));

export default defineConfig({
  testDir: `${here}/tests/screenshots`,
  testMatch: "*.shots.ts",
  outputDir: `${here}/test-results`,
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 60_000 },
  reporter: [["list"]],
  use: { ...browser, actionTimeout: 60_000, navigationTimeout: 60_000, baseURL: GALLERY_URL },
  webServer: galleryServer,
});
