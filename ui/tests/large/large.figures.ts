// The window over 10,000 sessions and 100,000 rows of the audit, on a real hub.

import { expect, test, type Page } from "@playwright/test";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startHub } from "../e2e/hub";
import { frames, LIMIT_MS, row, type Frames } from "./frames";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const TARGET = resolve(ROOT, process.env["CARGO_TARGET_DIR"] ?? "target");
const SESSIONS = process.env["LOQA_TEST_SESSIONS"] ?? "10000";
const ROWS = process.env["LOQA_TEST_ROWS"] ?? "100000";
/** Turns of the wheel, and how far each goes, in pixels. */
const [TURNS, STEP] = [120, 900];

async function wheel(page: Page, turns: number, step: number) {
  for (let n = 0; n < turns; n += 1) {
    await page.mouse.wheel(0, step);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
}

test("scrolling and searching stay fluent", async ({ page }) => {
  const data = await mkdtemp(join(tmpdir(), "loqa-large-"));
  const made = join(TARGET, "debug", "examples", process.platform === "win32" ? "large.exe" : "large");
  await promisify(execFile)(made, [data, SESSIONS, ROWS]);
  const hub = await startHub(data, { "stt.enabled": "false", "tts.enabled": "false" });
  const found: [string, Frames][] = [];
  const measure = async (name: string, act: () => Promise<void>) => {
    const result = await frames(page, act);
    found.push([name, result]);
    process.stdout.write(`${row(name, result)}\n`);
  };
  try {
    await page.setViewportSize({ width: 1280, height: 800 });
    await measure("nothing happens", () => page.waitForTimeout(1_000));
    const blocked = await frames(page, () =>
      page.evaluate(async () => {
        const end = performance.now() + 120;
        while (performance.now() < end);
        await new Promise((done) => setTimeout(done, 500));
      }),
    );
    expect(blocked.max, "control: a page that is busy for 120 ms is seen").toBeGreaterThan(LIMIT_MS);

    await hub.open(page, "#/sessions");
    const list = page.getByRole("list", { name: "Sessions" });
    await list.getByRole("link").first().hover();
    await measure("sessions, scrolling, pages arrive", () => wheel(page, TURNS, STEP));
    await measure("sessions, to the very end", async () => {
      await list.getByRole("link").first().focus();
      const last = list.locator(`[aria-posinset='${SESSIONS}']`);
      while ((await last.count()) === 0) {
        await list.evaluate((element) => ((element.parentElement as HTMLElement).scrollTop = element.scrollHeight));
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
      }
    });
    await measure("sessions, scrolling, all are there", () => wheel(page, TURNS, -STEP));
    const search = page.getByLabel("Search what was said");
    await search.focus();
    await measure("sessions, typing a search", async () => {
      await search.pressSequentially("kitchen timer item", { delay: 60 });
      await expect(page.getByText(/turns found/)).toBeVisible();
    });
    await list.getByRole("link").first().hover();
    await measure("sessions, scrolling what was found", () => wheel(page, TURNS, STEP));

    await page.goto(`${hub.url}/ui/#/audit`);
    const table = page.getByRole("table", { name: "Record" });
    await table.getByRole("link").first().hover();
    await measure("audit, scrolling, pages arrive", () => wheel(page, TURNS, STEP));
    await measure("audit, down to row 60,000", async () => {
      const start = Number((await table.getByRole("link").first().textContent()) ?? "0");
      for (;;) {
        const reached = await table.evaluate((element) => {
          const viewport = element.parentElement as HTMLElement;
          viewport.scrollTop = viewport.scrollHeight;
          return Number(element.querySelector("a")?.textContent ?? "0");
        });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
        if (reached < start - 40_000 || reached < 500) break;
      }
    });
    await measure("audit, scrolling 40,000 rows", () => wheel(page, TURNS, -STEP));
    const words = page.getByLabel("Text");
    await words.focus();
    await measure("audit, typing a filter", async () => {
      await words.pressSequentially("api.example:443/v1/499", { delay: 60 });
      await page.waitForTimeout(1_500);
    });
    await measure("audit, choosing a decision", async () => {
      await page.getByLabel("Decision").selectOption("deny");
      await page.waitForTimeout(1_500);
    });
    for (const [name, { p95 }] of found) expect(p95, `${name}: 95 of 100 frames`).toBeLessThan(LIMIT_MS);
  } finally {
    await hub.end();
    await rm(data, { recursive: true, force: true });
  }
});
