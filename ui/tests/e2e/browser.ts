// The browser of the tests, and the server of the made-up window. Deliberately absent: a
// browser that is downloaded; Debian's own is used, or the one that LOQA_TEST_CHROMIUM names.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const UI = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const CANDIDATES = [
  process.env["LOQA_TEST_CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const executablePath = CANDIDATES.find((path) => path !== undefined && existsSync(path));

/** What every test uses. The sandbox needs rights that root in a container does not have. */
export const browser = {
  browserName: "chromium" as const,
  launchOptions: {
    ...(executablePath ? { executablePath } : {}),
    args: ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
  },
  locale: "en-GB",
  timezoneId: "UTC",
};

// Chosen once, by the first process; the workers inherit it.
process.env["LOQA_TEST_GALLERY_PORT"] ??= String(20_000 + (process.pid % 20_000));
const PORT = Number(process.env["LOQA_TEST_GALLERY_PORT"]);
export const GALLERY_URL = `http://127.0.0.1:${PORT}`;

export const galleryServer = {
  command: `node ${join(UI, "tests", "e2e", "gallery-server.mjs")} ${PORT}`,
  url: `${GALLERY_URL}/gallery.html`,
  timeout: 120_000,
  reuseExistingServer: false,
};
