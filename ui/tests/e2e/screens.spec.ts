// Every screen in every state over the made-up hub: without violations of accessibility
// (axe), without a word of the browser about what the content policy refuses, and without
// anything that leaves the window at 800×600 and at 200 % zoom.

import { expect, test, type Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type axeCore from "axe-core";
import { isState, LOOKS, reach, SIZES, type Look } from "./screens";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function violations(page: Page): Promise<string[]> {
  // Evaluated by the debugger, which the content policy does not concern.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    // Colours in the middle of a transition are nobody's.
    await Promise.all(
      document
        .getAnimations()
        .map((animation) =>
          animation.effect?.getComputedTiming().iterations === Infinity ? null : animation.finished.catch(() => null),
        ),
    );
    const { axe } = window as unknown as { axe: typeof axeCore };
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`,
    );
  });
  return found;
}

/** Pixels by which something leaves the window at this size. */
async function surplus(page: Page, width: number, height: number): Promise<number> {
  await page.setViewportSize({ width, height });
  return page.evaluate(() => {
    const main = document.querySelector("main");
    const inMain = (main?.scrollWidth ?? 0) - (main?.clientWidth ?? 0);
    return Math.max(document.documentElement.scrollWidth - innerWidth, inMain);
  });
}

test("every screen and state: axe, the content policy, small windows", async ({ page }) => {
  test.setTimeout(600_000);
  const refused = complaints(page);
  const found: string[] = [];
  for (const look of LOOKS) {
    await page.setViewportSize(look.window ? SIZES[look.window] : { width: 1280, height: 800 });
    await reach(page, look);
    found.push(...(await violations(page)).map((one) => `${look.name}: ${one}`));
    // The second is a window of 800×600 at 200 % zoom.
    const small = look.window ? SIZES[look.window] : { width: 800, height: 600 };
    for (const [width, height] of [
      [small.width, small.height],
      [small.width / 2, small.height / 2],
    ] as const) {
      const pixels = await surplus(page, width, height);
      if (pixels > 0) found.push(`${look.name}: ${pixels} px leave the window at ${width}×${height}`);
    }
  }
  expect(found).toEqual([]);
  expect(refused, "nothing is refused by the content policy and nothing is thrown").toEqual([]);
});

test("every screen in the dark: axe", async ({ page }) => {
  test.setTimeout(600_000);
  await page.emulateMedia({ colorScheme: "dark" });
  const found: string[] = [];
  for (const look of LOOKS.filter((look) => !isState(look))) {
    await page.setViewportSize(look.window ? SIZES[look.window] : { width: 1280, height: 800 });
    await reach(page, look);
    found.push(...(await violations(page)).map((one) => `${look.name}: ${one}`));
  }
  expect(found).toEqual([]);
});

/** What the browser complains of, as it comes. */
function complaints(page: Page): string[] {
  const refused: string[] = [];
  page.on("console", (message) => message.type() === "error" && refused.push(message.text()));
  page.on("pageerror", (error) => refused.push(String(error)));
  return refused;
}

test("faults that are there are found", async ({ page }) => {
  await reach(page, LOOKS[0] as Look);
  await page.evaluate(() => document.querySelector("#talk-text")?.removeAttribute("id"));
  await page.evaluate(() => document.querySelector("main")?.append(document.createElement("button")));
  expect((await violations(page)).join()).toContain("button-name");
  await page.evaluate(() => (document.querySelector("main") as HTMLElement).style.setProperty("width", "2000px"));
  expect(await surplus(page, 800, 600)).toBeGreaterThan(0);
});

test("what skills' authors write is text and nothing else", async ({ page }) => {
  for (const at of ["?prompt#/talk", "#/skills/weather", "#/skills"]) {
    await page.goto("about:blank");
    await page.goto(`/gallery.html${at}`);
    await page
      .getByText(/<b>|<script>/)
      .first()
      .waitFor();
    expect(await page.locator("b, script:not([src])").count()).toBe(0);
  }
});

test("a question is answered with no by Esc and by Enter", async ({ page }) => {
  await page.goto("/gallery.html?prompt#/talk");
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("button", { name: "Deny" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
});

test("every screen can be reached with the keyboard, and says where one is", async ({ page }) => {
  await page.goto("/gallery.html#/talk");
  const link = page.getByRole("link", { name: "Latency" });
  await link.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Latency" })).toBeFocused();
  await expect(page).toHaveTitle(/Latency/);
});

test("ten thousand rows scroll without being there", async ({ page }) => {
  await page.goto("/gallery.html#/sessions");
  const list = page.getByRole("list", { name: "Sessions" });
  await expect(list.getByRole("listitem").first()).toBeVisible();
  expect(await list.getByRole("listitem").count()).toBeLessThan(60);
  await list.getByRole("link").first().focus();
  await page.keyboard.press("End");
  await expect(list.locator("[aria-posinset='100']")).toBeVisible();
});

test("the words are German where that is chosen", async ({ page }) => {
  await page.goto("/gallery.html#/settings");
  await page.getByLabel("Language").selectOption("de");
  await expect(page.getByRole("heading", { level: 1, name: "Einstellungen" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "de");
});

test("sound comes from the microphone while the button is held, and only then", async ({ page }) => {
  await page.goto("/gallery.html#/talk");
  const idle = page.getByRole("button", { name: /hold to talk/i });
  await idle.hover();
  await page.mouse.down();
  // Chromium's made-up microphone beeps.
  const held = page.getByRole("button", { name: /listening/i });
  const level = () => held.evaluate((button) => Number((button as HTMLElement).style.getPropertyValue("--level")));
  await expect.poll(level, { timeout: 60_000 }).toBeGreaterThan(0);
  await page.mouse.up();
  await expect(page.getByRole("button", { name: /thinking/i })).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
});
