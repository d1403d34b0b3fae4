// A real hub for the tests: `loqa serve` with the starter models on a folder of its own,
// started once, ended by its process id. Which program: LOQA_TEST_PROGRAM, else that of cargo's
// build folder. Deliberately absent: any knowledge of the hub but its command line and API.

import { test as base, type Page } from "@playwright/test";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const TARGET = resolve(ROOT, process.env["CARGO_TARGET_DIR"] ?? "target");
const PROGRAM =
  process.env["LOQA_TEST_PROGRAM"] ?? join(TARGET, "debug", process.platform === "win32" ? "loqa.exe" : "loqa");
/** Patience for a start on a busy machine, in milliseconds. */
const START_MS = 180_000;

export interface Hub {
  url: string;
  /** Opens the window, logged in, at a screen. */
  open(page: Page, hash: string): Promise<void>;
}

interface Started {
  api?: { url: string; token_file: string } | null;
}

/** Resolves when the hub says that it is ready; rejects with its last words when it ends before. */
function ready(child: ChildProcess): Promise<string> {
  return new Promise((done, failed) => {
    let out = "";
    let err = "";
    const timer = setTimeout(() => failed(new Error(`the hub was not ready within ${START_MS} ms:\n${err}`)), START_MS);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const line = out.split("\n").find((line) => line.startsWith("{"));
      if (line === undefined || !out.includes("\n")) return;
      clearTimeout(timer);
      done(line);
    });
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`the hub ended with ${code}:\n${err}`)));
  });
}

async function end(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  await gone;
  clearTimeout(timer);
}

export const test = base.extend<object, { hub: Hub }>({
  hub: [
    // The fixture needs nothing of others.
    async ({}, use) => {
      const data = await mkdtemp(join(tmpdir(), "loqa-ui-"));
      const set = { "paths.data": data };
      const args = ["serve", "--json", "--silent", "--config", join(data, "loqa.toml")];
      for (const [key, value] of Object.entries(set)) args.push("--set", `${key}=${value}`);
      await writeFile(join(data, "loqa.toml"), "");
      const child = spawn(PROGRAM, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
      try {
        const said = await ready(child);
        const { api } = JSON.parse(said) as Started;
        if (!api) throw new Error(`the hub has no API: ${said}`);
        const token = (await readFile(api.token_file, "utf8")).trim();
        await use({
          url: api.url,
          open: async (page, hash) => {
            const response = await fetch(`${api.url}/v1/login/codes`, {
              method: "POST",
              headers: { Authorization: `Bearer ${token}` },
            });
            const { code } = (await response.json()) as { code: string };
            const window = `${api.url}/ui/`;
            await page.goto(`${window}#/login/${code}`);
            await page.getByText("Connected", { exact: true }).waitFor();
            await page.goto(`${window}${hash}`);
          },
        });
      } finally {
        await end(child);
        await rm(data, { recursive: true, force: true });
      }
    },
    { scope: "worker", timeout: START_MS + 60_000 },
  ],
});

export { expect } from "@playwright/test";
