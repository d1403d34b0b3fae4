// The window over a real hub with the starter models: what a person does, from the first
// question to the check of the record. One story; the later steps see what the earlier did.

import type { Page } from "@playwright/test";
import { expect, test } from "./hub";

test.describe.configure({ mode: "serial" });

const WORDS = "Set a timer for five minutes";

test("a typed question is answered, and stands under Sessions and Latency", async ({ hub, page }) => {
  await hub.open(page, "#/talk");
  await page.getByLabel("Or type").fill(WORDS);
  await page.keyboard.press("Enter");
  const conversation = page.getByRole("region", { name: "Conversation" });
  await expect(conversation.getByRole("link", { name: "Show in Sessions" })).toBeVisible();
  await expect(conversation).toContainText(/5 minutes|five minutes/i);

  await conversation.getByRole("link", { name: "Show in Sessions" }).click();
  const steps = page.getByRole("list", { name: "What happened" });
  await expect(steps).toContainText("A rule decided");
  await expect(steps).toContainText("timer.start");
  await expect(steps).toContainText("The turn ended");
  await expect(page.getByText(/to the first sound/).first()).toBeVisible();

  await page.getByRole("link", { name: "Latency" }).click();
  await expect(page.getByRole("heading", { name: "Last turns" })).toBeVisible();
  await expect(page.getByRole("table").first()).toContainText("Speech recognised");
});

test("a search finds it while one types, and nothing where nothing is", async ({ hub, page }) => {
  await hub.open(page, "#/sessions");
  await page.getByLabel("Search what was said").pressSequentially("timer");
  await expect(page.getByText("1 turn found")).toBeVisible();
  await expect(page.locator("mark").first()).toHaveText(/timer/i);
  await page.getByLabel("Search what was said").fill("zebra");
  await expect(page.getByRole("heading", { name: /zebra/ })).toBeVisible();
});

async function ask(page: Page, words: string) {
  await page.getByLabel("Or type").fill(words);
  await page.keyboard.press("Enter");
}

test("a permission is taken away, given for once, and given again", async ({ hub, page }) => {
  await hub.open(page, "#/skills/timer");
  const timers = page.getByRole("listitem").filter({ hasText: "timer:set" });
  const allowed = timers.getByRole("switch");
  await expect(allowed).toBeChecked();
  await allowed.click();
  await expect(allowed).not.toBeChecked();
  await timers.getByText("Change", { exact: true }).click();
  await timers.getByLabel("How long").selectOption("once");
  await timers.getByRole("button", { name: "Allow", exact: true }).click();
  await expect(allowed).toBeChecked();
  await expect(timers).toContainText("Allowed · once");

  await page.getByRole("link", { name: "Talk" }).click();
  await ask(page, "Set a timer for seven minutes");
  const answers = page.getByRole("link", { name: "Show in Sessions" });
  await expect(answers).toHaveCount(1);
  await ask(page, "Set a timer for eight minutes");
  await expect(answers).toHaveCount(2);
  await expect(page.getByRole("region", { name: "Conversation" })).toContainText("Not allowed");

  await page.getByRole("link", { name: "Skills" }).click();
  await page.getByRole("link", { name: /timer/i }).click();
  await expect(allowed).not.toBeChecked();
  await allowed.click();
  await expect(allowed).toBeChecked();
  await page.reload();
  await expect(allowed).toBeChecked();
});

const WEATHER = "What is the weather in Berlin?";

test("a skill asks, and a no is a no", async ({ hub, page }) => {
  await hub.open(page, "#/talk");
  await ask(page, WEATHER);
  const dialog = page.getByRole("dialog", { name: /weather asks/i });
  await expect(dialog).toContainText("It asks for the first time.");
  await expect(dialog).toContainText("http:call");
  await expect(dialog).toContainText("127.0.0.1");
  await expect(dialog.getByRole("button", { name: "Deny" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
  const conversation = page.getByRole("region", { name: "Conversation" });
  const answers = conversation.getByRole("link", { name: "Show in Sessions" });
  await expect(answers).toHaveCount(1);
  await expect(conversation).toContainText("I may not ask the weather service.");

  // A no holds for this time only; the next question is answered for good.
  await ask(page, WEATHER);
  await expect(dialog).toBeVisible();
  await dialog.getByRole("button", { name: "Never, do not ask again" }).click();
  await expect(dialog).toBeHidden();
  await expect(answers).toHaveCount(2);
  await ask(page, WEATHER);
  await expect(answers).toHaveCount(3);
  await expect(dialog).toBeHidden();

  await page.getByRole("link", { name: "Skills" }).click();
  await page.getByRole("link", { name: /weather/i }).click();
  await expect(page.getByRole("listitem").filter({ hasText: "http:call" }).first()).toContainText("Never");
  await page.getByRole("link", { name: "Audit" }).click();
  await expect(page.getByRole("cell", { name: "question answered" })).toHaveCount(2);
  await expect(page.getByText("Nothing left this machine.")).toBeVisible();
});

test("the window of a question shows it alone, and Esc is a no", async ({ hub, page }) => {
  await hub.open(page, "#/skills/weather");
  const lasting = page.getByRole("listitem").filter({ hasText: "http:call" }).first();
  await lasting.getByRole("switch").click();
  await expect(lasting.getByRole("switch")).toBeChecked();
  await lasting.getByRole("switch").click();
  await expect(lasting.getByRole("switch")).not.toBeChecked();

  const window = await page.context().newPage();
  await window.goto(`${hub.url}/ui/prompt.html`);
  await expect(window.getByRole("heading", { name: "No question is open" })).toBeVisible();
  await page.getByRole("link", { name: "Talk" }).click();
  await ask(page, WEATHER);
  await expect(window.getByRole("heading", { name: /weather asks/i })).toBeVisible();
  await expect(window.getByText("127.0.0.1").first()).toBeVisible();
  await expect(window.getByRole("button", { name: "Deny" })).toBeFocused();
  await window.keyboard.press("Escape");
  await expect(window.getByRole("heading", { name: "No question is open" })).toBeVisible();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  const conversation = page.getByRole("region", { name: "Conversation" });
  await expect(conversation).toContainText("I may not ask the weather service.");
  expect(hub.weatherAsked()).toBe(0);

  // With a yes it may, once.
  await expect(conversation.getByRole("link", { name: "Show in Sessions" })).toHaveCount(1);
  await ask(page, WEATHER);
  await window.getByRole("button", { name: "Allow once" }).click();
  await expect(conversation).toContainText("In Berlin it is 4 degrees");
  expect(hub.weatherAsked()).toBe(1);
  await window.close();
  await page.getByRole("link", { name: "Audit" }).click();
  await expect(page.getByText("Nothing left this machine.")).toHaveCount(0);
});

test("a session is run again, and comes out the same", async ({ hub, page }) => {
  test.setTimeout(300_000);
  await hub.open(page, "#/sessions");
  await page
    .getByRole("list", { name: "Sessions" })
    .getByRole("link", { name: new RegExp(WORDS, "i") })
    .first()
    .click();
  await page.getByRole("button", { name: "Run again" }).click();
  const panel = page.getByRole("region", { name: "Run this session again" });
  await panel.getByRole("button", { name: "Run again" }).click();
  await expect(panel.getByText("All turns came out the same.")).toBeVisible({ timeout: 240_000 });
  await expect(panel.getByRole("table").first()).toContainText("timer.start");
});

test("models say what they are, and how they would do here", async ({ hub, page }) => {
  await hub.open(page, "#/models");
  await expect(page.getByText(/on this machine\.$/)).toBeVisible();
  const download = page.getByRole("button", { name: /^Download / }).first();
  await download.click();
  const sheet = page.getByRole("dialog");
  await expect(sheet.getByText(/times as fast as speech|words a second/)).toBeVisible();
  await expect(sheet.getByRole("button", { name: "Download" })).toBeDisabled();
  await sheet.getByRole("checkbox").check();
  await expect(sheet.getByRole("button", { name: "Download" })).toBeEnabled();
  await sheet.getByRole("button", { name: "Cancel" }).click();
  await expect(sheet).toHaveCount(0);
});

test("the record is intact, and says so", async ({ hub, page }) => {
  await hub.open(page, "#/audit");
  await page.getByRole("button", { name: "Verify" }).click();
  await expect(page.getByText("The record is intact")).toBeVisible();
  await page
    .getByRole("link", { name: /^Row \d+$/ })
    .first()
    .click();
  await expect(page.getByRole("dialog")).toContainText("Hash of this row");
});

test("models, engines, settings and about tell of this hub", async ({ hub, page }) => {
  await hub.open(page, "#/models");
  await expect(page.getByText("In use").first()).toBeVisible();
  await page.getByRole("link", { name: "Engines" }).click();
  await expect(page.getByText("Ready").first()).toBeVisible();
  await page.getByRole("link", { name: "Settings" }).click();
  await expect(page.getByText("api.port")).toBeVisible();
  await page.getByRole("link", { name: "About", exact: true }).click();
  await expect(page.getByText("3 of 3 ready")).toBeVisible();
});

test("a session is deleted when one says yes", async ({ hub, page }) => {
  await hub.open(page, "#/sessions");
  const list = page.getByRole("list", { name: "Sessions" });
  await list
    .getByRole("link", { name: new RegExp(WORDS, "i") })
    .first()
    .click();
  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("button", { name: "Cancel" })).toBeFocused();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await expect(list.getByRole("link", { name: new RegExp(WORDS, "i") })).toHaveCount(0);
});

test("everything that was said is removed, and the record proves it", async ({ hub, page }) => {
  await hub.open(page, "#/settings");
  await page.getByRole("button", { name: /Remove everything that was said/ }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("button", { name: "Remove everything" })).toBeDisabled();
  await dialog.getByLabel(/Type “remove”/).fill("remove");
  await dialog.getByRole("button", { name: "Remove everything" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText(/sessions with .* turns are gone/)).toBeVisible();
  await page.getByRole("link", { name: /^Row \d+$/ }).click();
  await expect(page.getByRole("dialog")).toContainText("what was said removed");
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "Sessions" }).click();
  await expect(page.getByRole("heading", { name: "No sessions yet" })).toBeVisible();
});

test("without a login there is no window", async ({ hub, page }) => {
  await page.goto(`${hub.url}/ui/`);
  await expect(page.getByRole("heading", { name: "Log in to this Loqa" })).toBeVisible();
});
