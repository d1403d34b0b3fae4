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

test("without a login there is no window", async ({ hub, page }) => {
  await page.goto(`${hub.url}/ui/`);
  await expect(page.getByRole("heading", { name: "Log in to this Loqa" })).toBeVisible();
});
