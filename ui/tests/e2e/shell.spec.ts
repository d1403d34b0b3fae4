// The window inside of the desktop app, over a made-up shell: what goes to the shell, and
// what is different from a browser.

import { expect, test, type Page } from "@playwright/test";
import { MARKUP } from "./markup";

interface Asked {
  command: string;
  given: Record<string, unknown>;
}

/** What the page asked of the shell, without what Tauri asks itself. */
const asked = (page: Page): Promise<Asked[]> =>
  page.evaluate(() => (window as unknown as { shell: { asked: Asked[] } }).shell.asked);

async function commands(page: Page): Promise<string[]> {
  return (await asked(page)).map(({ command }) => command);
}

test("the first run is gone through with the keyboard, and never comes back", async ({ page }) => {
  await page.goto("/gallery.html?shell&first");
  for (const [n, title] of [
    "What stays here",
    "Microphone and speaker",
    "A key for talking",
    "Try it",
    "A larger model, if you like",
  ].entries()) {
    await expect(page.getByRole("heading", { level: 1, name: title })).toBeFocused();
    await expect(page.getByText(`Step ${n + 1} of 5`)).toBeVisible();
    const next = page.getByRole("button", { name: n === 4 ? "Begin" : "Next" });
    await next.focus();
    await page.keyboard.press("Enter");
  }
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
  expect(await commands(page)).toContain("first_run_done");
  expect((await asked(page)).filter(({ command }) => command === "devices_listen").at(-1)?.given).toEqual({
    on: false,
  });
});

test("the first run can be left at any point, and is found again under Settings", async ({ page }) => {
  await page.goto("/gallery.html?shell&first");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Leave" }).click();
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
  expect(await commands(page)).toContain("first_run_done");
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("link", { name: "Run the first steps again" }).click();
  await expect(page.getByText("Step 1 of 5")).toBeVisible();
});

test("whoever opened the window at a place stays there", async ({ page }) => {
  await page.goto("/gallery.html?shell&first#/audit");
  await expect(page.getByRole("link", { name: "Row 1240" })).toBeVisible();
});

test("the space bar holds the shell's key, and typed words go the same way", async ({ page }) => {
  await page.goto("/gallery.html?shell#/talk");
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
  await page.keyboard.down("Space");
  await expect(page.getByRole("button", { name: /listening/i })).toBeVisible();
  await page.keyboard.up("Space");
  await expect(page.getByRole("button", { name: /thinking/i })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
  await page.getByLabel("Or type").fill("Set a timer for five minutes");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("region", { name: "Conversation" })).toContainText("Timer set for 5 minutes.");
  const talk = (await commands(page)).filter((command) => command.startsWith("talk_") && command !== "talk_snapshot");
  expect(talk).toEqual(["talk_press", "talk_release", "talk_cancel", "talk_text"]);

  // What was said stays while other screens are open.
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("link", { name: "Talk" }).click();
  await expect(page.getByRole("region", { name: "Conversation" })).toContainText("Timer set for 5 minutes.");
});

test("a press while muted says that it is muted", async ({ page }) => {
  await page.goto("/gallery.html?shell&talk=muted#/talk");
  await page.getByRole("button", { name: /muted/i }).first().hover();
  await page.mouse.down();
  await page.mouse.up();
  await expect(page.getByRole("alert")).toContainText("The microphone is muted");
  await page.getByRole("button", { name: "Unmute the microphone" }).click();
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
});

test("skills ask in their own window, not in this one", async ({ page }) => {
  await page.goto("/gallery.html?shell&prompt#/talk");
  await expect(page.getByText("Connected", { exact: true })).toBeVisible();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  // Control: without the shell the same question stands in front of everything.
  await page.goto("about:blank");
  await page.goto("/gallery.html?prompt#/talk");
  await expect(page.getByRole("dialog")).toBeVisible();
});

test("questions take turns in their window; Enter and Esc are a no, wherever the focus is", async ({ page }) => {
  await page.goto("/gallery-prompt.html?prompt&more");
  await expect(page.getByRole("button", { name: "Deny" })).toBeFocused();
  await expect(page.getByText("1 more question waits")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Lights asks" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Deny" })).toBeFocused();
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await page.keyboard.press("Escape");
  await expect(page.getByRole("heading", { name: "No question is open" })).toBeVisible();
  const sent = await page.evaluate(() =>
    (window as unknown as { hub: { sent: { url: string; body?: string }[] } }).hub.sent
      .filter(({ url }) => url.includes("/answer"))
      .map(({ body }) => body),
  );
  expect(sent).toEqual(['{"answer":"deny"}', '{"answer":"deny"}']);
});

test("the overlay cancels what goes on, and hides when nothing does", async ({ page }) => {
  await page.goto("/gallery-overlay.html?talk=listening");
  await expect(page.getByText("How long do eggs", { exact: false })).toBeVisible();
  await expect(page.getByRole("meter")).toHaveAttribute("aria-valuenow", "55");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("status")).toHaveText(/ready/i);
  expect(await commands(page)).toContain("talk_cancel");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Open Loqa" }).click();
  expect((await asked(page)).slice(-2)).toEqual([
    { command: "overlay_hide", given: {} },
    { command: "open_main", given: { route: "talk" } },
  ]);
});

test("how the window looks is kept by the shell, and a file goes through its dialog", async ({ page }) => {
  await page.goto("/gallery.html?shell#/settings");
  await page.getByLabel("Language").selectOption("de");
  await expect(page.getByRole("heading", { level: 1, name: "Einstellungen" })).toBeVisible();
  const kept = (await asked(page)).findLast(({ command }) => command === "preferences_write");
  expect(kept?.given).toMatchObject({ preferences: { language: "de" } });
  await page.getByRole("link", { name: "Gespräche" }).click();
  await page.getByRole("link", { name: /timer/i }).first().click();
  await page.getByRole("button", { name: "Ausgeben" }).click();
  await expect(page.getByText("Das Gespräch wurde ausgegeben.")).toBeVisible();
  const file = (await asked(page)).findLast(({ command }) => command === "save_file");
  expect(file?.given["name"]).toBe("s-0.json");
  expect(String(file?.given["text"])).toContain("Set a timer");
});

test("the shell leads the window to a place", async ({ page }) => {
  await page.goto("/gallery.html?shell#/talk");
  await expect(page.getByRole("button", { name: /hold to talk/i })).toBeVisible();
  await page.evaluate(() =>
    (window as unknown as { shell: { navigate: (route: string) => void } }).shell.navigate("skills/weather"),
  );
  await expect(page).toHaveURL(/#\/skills\/weather$/);
});

test("a download shows how far it is and can be stopped", async ({ page }) => {
  await page.goto("/gallery.html#/models");
  await page.getByRole("button", { name: "Download Whisper small, multilingual" }).click();
  const sheet = page.getByRole("dialog");
  await expect(sheet.getByRole("button", { name: "Download" })).toBeDisabled();
  await sheet.getByRole("checkbox").check();
  await sheet.getByRole("button", { name: "Download" }).click();
  await expect(page.getByRole("progressbar", { name: /Whisper small/ })).toBeVisible();
  await expect(page.getByRole("button", { name: "Download Qwen 4B" })).toBeDisabled();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByText(/The download was cancelled/)).toBeVisible();
  await expect(page.getByRole("button", { name: "Download Qwen 4B" })).toBeEnabled();
});

interface Looked {
  owned: boolean;
  elements: number;
  shown: number;
}

/** Has every text said and answered, and looks at what became of it. */
async function sayAll(page: Page): Promise<Looked> {
  return page.evaluate(async (texts) => {
    const { shell } = window as unknown as { shell: { tell: (told: unknown) => void } };
    const settled = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const strange =
      "script:not([src]),img,iframe,video,audio,object,embed,marquee,math,template,meta[http-equiv],form[action],style:not([nonce]):not([data-vite-dev-id])";
    const before = document.querySelectorAll(strange).length;
    let [elements, shown] = [0, 0];
    for (const text of texts) {
      shell.tell({ type: "typed", text });
      shell.tell({ type: "hub", message: { type: "started", session: "s-1", turn: "t-x" } });
      await settled();
      elements += document.querySelectorAll(strange).length - before;
      shown += Number(
        document.body.textContent.includes(text.replaceAll("\u0000", "")) || document.body.textContent.includes(text),
      );
      const event = { session: "s-1", turn: "t-x", seq: 0, at_us: 0, event: { type: "reply_delta", text } };
      shell.tell({ type: "hub", message: { type: "event", event } });
      await settled();
      elements += document.querySelectorAll(strange).length - before;
      shell.tell({ type: "ended" });
    }
    return { owned: "owned" in globalThis, elements, shown };
  }, MARKUP);
}

for (const address of ["/gallery.html?shell#/talk", "/gallery-overlay.html"]) {
  test(`a hundred texts that look like markup stay text: ${address}`, async ({ page }) => {
    await page.goto(address);
    await expect(page.getByText("Ready", { exact: true })).toBeVisible();
    expect(MARKUP).toHaveLength(100);
    expect(await sayAll(page)).toEqual({ owned: false, elements: 0, shown: 100 });
    // Control: taken for markup, the first of them would be seen.
    const control = await page.evaluate((text) => {
      document.body.insertAdjacentHTML("beforeend", text);
      return document.querySelectorAll("img").length;
    }, MARKUP[1] ?? "");
    expect(control).toBe(1);
  });
}
