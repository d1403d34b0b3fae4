// `npm run ui:large`: how the window does over a hub with a long past. Figures, not a test
// that others wait for.

import { defineConfig } from "@playwright/test";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { browser } from "./tests/e2e/browser";

const here = dirname(fileURLToPath(import.meta.url));

export default defineConfig({
  testDir: `${here}/tests/large`,
  testMatch: "*.figures.ts",
  outputDir: `${here}/test-results`,
  workers: 1,
  timeout: 900_000,
  expect: { timeout: 120_000 },
  reporter: [["list"]],
  use: { ...browser, actionTimeout: 120_000, navigationTimeout: 120_000 },
});
