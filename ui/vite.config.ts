// Builds the window: `npm run ui:build` writes `ui/dist`, which a hub serves at `/ui/` and
// the desktop app loads from its own files; both know it by relative paths only.

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** The window, and the two small ones of the desktop app. */
const PAGES = ["index", "overlay", "prompt"];
/** The same over a made-up hub and a made-up shell. */
const GALLERY = ["gallery", "gallery-overlay", "gallery-prompt"];
const here = dirname(fileURLToPath(import.meta.url));

export default defineConfig(({ mode }) => ({
  root: here,
  base: "./",
  plugins: [svelte({ configFile: `${here}/svelte.config.js` })],
  build: {
    outDir: mode === "gallery" ? "dist-gallery" : "dist",
    // The engines of the desktop app and of browsers that know `light-dark()`.
    target: ["chrome123", "firefox128", "safari17.5"],
    // A file in a `data:` address would be refused by the content policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: (mode === "gallery" ? GALLERY : PAGES).map((page) => `${here}/${page}.html`),
    },
  },
}));
