// Reducers and components run here, in a document without layout. What needs a real
// browser, a real hub or a real microphone is in `playwright.config.ts`.

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { svelteTesting } from "@testing-library/svelte/vite";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = dirname(fileURLToPath(import.meta.url));

export default defineConfig({
  root: here,
  plugins: [svelte({ configFile: `${here}/svelte.config.js` }), svelteTesting()],
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.ts", "tests/unit/**/*.test.ts"],
    // Long enough for two busy cores.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
