// Every screen and state of the made-up windows, once, for axe and for pictures.

import type { Page } from "@playwright/test";

export interface Look {
  name: string;
  /** Which page; the main window when it is left out. */
  window?: "overlay" | "prompt";
  /** Query and hash of the page. */
  at: string;
  /** What one does when the screen has settled, up to what is to be looked at. */
  act?: (page: Page) => Promise<void>;
  /** Something that is there when the screen has settled, by its role and name. */
  ready: {
    role: "heading" | "alert" | "dialog" | "progressbar" | "link" | "switch" | "button" | "status";
    name: RegExp;
  };
}

/** Sizes of the small windows, as the shell opens them. */
export const SIZES = { overlay: { width: 480, height: 136 }, prompt: { width: 600, height: 560 } };

/** Opens a look and brings it to where it is to be looked at. */
export async function reach(page: Page, { window, at, ready, act }: Look) {
  await page.goto("about:blank");
  await page.goto(`/gallery${window ? `-${window}` : ""}.html${at}`);
  await page.getByRole(ready.role, { name: ready.name }).first().waitFor();
  await act?.(page);
}

const OVERLAY_WORDS: Record<string, RegExp> = {
  idle: /ready/i,
  listening: /how long do eggs$/i,
  thinking: /until they are hard/i,
  speaking: /nine minutes/i,
  done: /timer set/i,
  failed: /nothing was heard/i,
  muted: /muted/i,
  offline: /offline|not connected/i,
};

const press =
  (...names: RegExp[]) =>
  async (page: Page) => {
    for (const name of names) await page.getByRole("button", { name }).first().click();
  };

const replay = async (page: Page) => {
  await press(/^run again$/i)(page);
  await page.getByRole("combobox", { name: /thinks/i }).waitFor();
  await page
    .getByRole("group", { name: /run this session/i })
    .or(page.locator("form"))
    .last()
    .getByRole("button", { name: /^run again$/i })
    .click();
};

const FULL: Look[] = [
  { name: "talk", at: "#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "talk-listening", at: "?talk=listening#/talk", ready: { role: "button", name: /thinking/i } },
  { name: "talk-speaking", at: "?talk=speaking#/talk", ready: { role: "button", name: /speaking/i } },
  { name: "talk-done", at: "?talk=done#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "talk-failed", at: "?talk=failed#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "sessions", at: "#/sessions", ready: { role: "link", name: /light in the kitchen/i } },
  { name: "sessions-detail", at: "#/sessions/s-6?turn=t-6-0", ready: { role: "button", name: /hide what happened/i } },
  { name: "sessions-search", at: "#/sessions?q=timer", ready: { role: "link", name: /timer/i } },
  { name: "skills", at: "#/skills", ready: { role: "link", name: /weather/i } },
  { name: "skills-detail", at: "#/skills/weather", ready: { role: "switch", name: /internet/i } },
  { name: "prompt", at: "?prompt#/talk", ready: { role: "dialog", name: /asks/i } },
  { name: "audit", at: "#/audit", ready: { role: "link", name: /row 1240/i } },
  { name: "audit-row", at: "#/audit/1234", ready: { role: "heading", name: /^chain$/i } },
  { name: "latency", at: "#/latency", ready: { role: "heading", name: /last turns/i } },
  { name: "models", at: "#/models", ready: { role: "heading", name: /starter ears/i } },
  { name: "nodes", at: "#/nodes", ready: { role: "heading", name: /speech recognition/i } },
  { name: "settings", at: "#/settings", ready: { role: "heading", name: /stt/i } },
  { name: "about", at: "#/about", ready: { role: "heading", name: /bug report/i } },
  ...["privacy", "devices", "hotkey", "try", "model"].map((step): Look => ({
    name: `welcome-${step}`,
    at: `?shell&first#/welcome/${step}`,
    ready: { role: "heading", name: /./ },
    act: async (page) => {
      await page.getByText(/step \d of 5/i).waitFor();
      if (step === "devices") await page.getByText(/your voice arrives/i).waitFor();
      if (step === "hotkey") await page.getByRole("button", { name: /record a key/i }).waitFor();
      if (step === "model") await page.getByText(/words a second/i).waitFor();
      if (step === "try") {
        await page.getByRole("button", { name: /type it/i }).click();
        await page.getByText(/was worked out on this machine/i).waitFor();
      }
    },
  })),
  { name: "welcome-browser", at: "#/welcome/try", ready: { role: "button", name: /hold to talk/i } },
  { name: "talk-shell", at: "?shell&talk=tapped#/talk", ready: { role: "button", name: /listening/i } },
  { name: "talk-shell-deaf", at: "?shell&deaf#/talk", ready: { role: "alert", name: /.*/ } },
  { name: "talk-shell-muted", at: "?shell&talk=muted#/talk", ready: { role: "button", name: /muted/i } },
  {
    name: "settings-shell",
    at: "?shell#/settings",
    ready: { role: "button", name: /record a key/i },
    act: async (page) => page.getByText(/your voice arrives/i).waitFor(),
  },
  {
    name: "settings-shell-trouble",
    at: "?shell&broken&deaf&portal#/settings",
    ready: { role: "button", name: /record a key/i },
    act: press(/play a test sentence/i, /look for an update/i, /record a key/i),
  },
  {
    name: "settings-wipe",
    at: "#/settings",
    ready: { role: "heading", name: /stt/i },
    act: press(/remove everything/i),
  },
  {
    name: "settings-wiped",
    at: "#/settings",
    ready: { role: "heading", name: /stt/i },
    act: async (page) => {
      await press(/remove everything/i)(page);
      await page.getByLabel(/type “remove”/i).fill("remove");
      await page.keyboard.press("Enter");
      await page.getByText(/240 sessions with 720 turns are gone/i).waitFor();
    },
  },
  {
    name: "models-sheet",
    at: "#/models",
    ready: { role: "heading", name: /starter ears/i },
    act: async (page) => {
      await press(/^download whisper/i)(page);
      await page.getByText(/times as fast as speech/i).waitFor();
    },
  },
  { name: "models-pulling", at: "?pull=running#/models", ready: { role: "progressbar", name: /download of qwen/i } },
  { name: "models-pull-failed", at: "?pull=failed#/models", ready: { role: "alert", name: /.*/ } },
  {
    name: "models-remove",
    at: "#/models",
    ready: { role: "heading", name: /starter ears/i },
    act: press(/remove gemma/i),
  },
  {
    name: "models-busy",
    at: "?trouble=busy#/models",
    ready: { role: "heading", name: /starter ears/i },
    act: async (page) => {
      await press(/use gemma/i)(page);
      await page.getByRole("alert").waitFor();
    },
  },
  {
    name: "sessions-replay",
    at: "#/sessions/s-1",
    ready: { role: "button", name: /^run again$/i },
    act: async (page) => {
      await replay(page);
      await page.getByText(/1 of 2 turns came out differently/i).waitFor();
    },
  },
  {
    name: "sessions-replay-waiting",
    at: "?trouble=replay-slow#/sessions/s-1",
    ready: { role: "button", name: /^run again$/i },
    act: async (page) => {
      await replay(page);
      await page.getByRole("progressbar", { name: /run again/i }).waitFor();
    },
  },
  {
    name: "sessions-replay-busy",
    at: "?trouble=busy#/sessions/s-1",
    ready: { role: "button", name: /^run again$/i },
    act: async (page) => {
      await replay(page);
      await page.getByText(/another session is being run/i).waitFor();
    },
  },
  ...["idle", "listening", "thinking", "speaking", "done", "failed", "muted", "offline"].map((talk): Look => ({
    name: `overlay-${talk}`,
    window: "overlay",
    at: `?talk=${talk}`,
    ready: { role: "button", name: /cancel/i },
    act: async (page) =>
      page
        .getByText(OVERLAY_WORDS[talk] ?? "")
        .first()
        .waitFor(),
  })),
  { name: "overlay-deaf", window: "overlay", at: "?deaf", ready: { role: "button", name: /cancel/i } },
  { name: "prompt-window", window: "prompt", at: "?prompt&more", ready: { role: "button", name: /deny/i } },
  { name: "prompt-window-none", window: "prompt", at: "", ready: { role: "heading", name: /no question/i } },
  { name: "login", at: "?state=login#/talk", ready: { role: "heading", name: /log in/i } },
];

const SCREENS = ["sessions", "skills", "audit", "latency", "models", "nodes"];

const STATES: Look[] = [
  ...SCREENS.map((screen) => ({
    name: `${screen}-empty`,
    at: `?state=empty#/${screen}`,
    ready: { role: "heading" as const, name: /^no /i },
  })),
  ...[...SCREENS, "settings"].map((screen) => ({
    name: `${screen}-error`,
    at: `?state=error#/${screen}`,
    ready: { role: "alert" as const, name: /.*/ },
  })),
  ...[...SCREENS, "settings"].map((screen) => ({
    name: `${screen}-slow`,
    at: `?state=slow#/${screen}`,
    ready: { role: "progressbar" as const, name: /loading/i },
  })),
  { name: "talk-offline", at: "?state=offline#/talk", ready: { role: "button", name: /offline/i } },
];

/** Whether a look is of a state that others share; one theme is enough for those. */
export const isState = (look: Look) => STATES.includes(look);
export const LOOKS: Look[] = [...FULL, ...STATES];
export const PICTURES: Look[] = [...FULL, ...STATES.filter(({ name }) => /sessions-|talk-|latency-empty/.test(name))];
