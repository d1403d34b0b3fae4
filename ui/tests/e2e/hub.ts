// A real hub for the tests: `loqa serve` with the starter models on a folder of its own,
// started once, ended by its process id. Which program: LOQA_TEST_PROGRAM, else that of cargo's
// build folder. Deliberately absent: any knowledge of the hub but its command line and API.

import { test as base, type Page } from "@playwright/test";
import { spawn, type ChildProcess } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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

/** A weather service on this machine, as the real one answers. */
async function weatherService(): Promise<{ url: string; asked: () => number; close: () => Promise<void> }> {
  let asked = 0;
  const body = JSON.stringify({
    current: { time: "2026-01-01T12:00", interval: 900, temperature_2m: 3.6, weather_code: 61 },
    daily: {
      time: ["2026-01-01", "2026-01-02"],
      weather_code: [63, 3],
      temperature_2m_max: [5.2, 7.5],
      temperature_2m_min: [-1.4, -0.2],
      precipitation_probability_max: [85, 5],
    },
  });
  const server = createServer((_, response) => {
    asked += 1;
    response.writeHead(200, { "Content-Type": "application/json" }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1/forecast`,
    asked: () => asked,
    close: () => new Promise((done) => (server.close(() => done()), server.closeAllConnections())),
  };
}

/** The bundled skills; that for the weather asks a service of this machine, and asks for
    more than it needs, so that the person is asked at its first use. */
async function skills(data: string, service: string): Promise<string[]> {
  const built = (name: string) => join(ROOT, "skills", name, "dist");
  const weather = join(data, "weather");
  await cp(built("weather"), weather, { recursive: true });
  const manifest = join(weather, "skill.yaml");
  const asks = /urls: \[.*?\], methods: \[GET\]/;
  const text = await readFile(manifest, "utf8");
  if (!asks.test(text)) throw new Error("the weather skill asks for something else");
  const urls = `urls: ["${service}", "https://*.weather.test/"], methods: [GET], lan: true`;
  await writeFile(manifest, text.replace(asks, urls));
  return [built("timer"), built("shopping-list"), weather];
}

/** Starts a hub over a folder, and says how to reach it and how to end it. */
export async function startHub(data: string, set: Record<string, string>): Promise<Hub & { end: () => Promise<void> }> {
  const args = ["serve", "--json", "--silent", "--config", join(data, "loqa.toml")];
  for (const [key, value] of Object.entries({ "paths.data": data, ...set })) args.push("--set", `${key}=${value}`);
  await writeFile(join(data, "loqa.toml"), "");
  const child = spawn(PROGRAM, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  try {
    const said = await ready(child);
    const { api } = JSON.parse(said) as Started;
    if (!api) throw new Error(`the hub has no API: ${said}`);
    const token = (await readFile(api.token_file, "utf8")).trim();
    return {
      url: api.url,
      end: () => end(child),
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
    };
  } catch (error) {
    await end(child);
    throw error;
  }
}

interface AskingHub extends Hub {
  /** How often the weather service of the test was asked. */
  weatherAsked: () => number;
}

export const test = base.extend<object, { hub: AskingHub }>({
  hub: [
    // The fixture needs nothing of others.
    async ({}, use) => {
      const weather = await weatherService();
      const data = await mkdtemp(join(tmpdir(), "loqa-ui-"));
      try {
        const hub = await startHub(data, { "paths.skills": (await skills(data, weather.url)).join(",") });
        try {
          await use({ ...hub, weatherAsked: weather.asked });
        } finally {
          await hub.end();
        }
      } finally {
        await weather.close();
        await rm(data, { recursive: true, force: true });
      }
    },
    { scope: "worker", timeout: START_MS + 60_000 },
  ],
});

export { expect } from "@playwright/test";
