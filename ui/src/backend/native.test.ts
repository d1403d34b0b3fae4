import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { emit } from "@tauri-apps/api/event";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, it, vi } from "vitest";
import type { ApiError } from "./client";
import { COMMANDS, createNative, isNative } from "./native";

afterEach(() => {
  clearMocks();
  // What clearing leaves behind would still look like the desktop app.
  Reflect.deleteProperty(window, "__TAURI_INTERNALS__");
});

it("a browser has no door, the desktop app has one", () => {
  expect(isNative()).toBe(false);
  mockIPC(() => undefined);
  expect(isNative()).toBe(true);
});

it("a command goes with its name and what it is given", async () => {
  const asked: unknown[] = [];
  mockIPC((command, given) => void asked.push([command, given]));
  const native = createNative();
  await native.call("talk_press");
  await native.call("talk_text", { text: "hi", speak: true });
  expect(asked).toEqual([
    ["talk_press", {}],
    ["talk_text", { text: "hi", speak: true }],
  ]);
  expect(new Set(COMMANDS).size).toBe(COMMANDS.length);
});

it("a command that fails says why, in the shell's words or Tauri's", async () => {
  mockIPC((command) =>
    Promise.reject(command === "quit" ? { code: "conflict", message: "a turn runs" } : "not allowed"),
  );
  const native = createNative();
  const fault = async (ask: Promise<unknown>) => ask.then(() => null).catch((error: unknown) => error as ApiError);
  expect(await fault(native.call("quit"))).toMatchObject({ code: "conflict", detail: "a turn runs" });
  expect(await fault(native.call("app_info"))).toMatchObject({ code: "unreadable", detail: "not allowed" });
});

it("an event is heard until one stops", async () => {
  mockIPC(() => undefined, { shouldMockEvents: true });
  const take = vi.fn();
  const stop = createNative().on("navigate", take);
  await emit("navigate", { route: "audit" });
  expect(take).toHaveBeenCalledExactlyOnceWith({ route: "audit" });
  stop();
  await emit("navigate", { route: "talk" });
  expect(take).toHaveBeenCalledOnce();
});

it("knows exactly the commands that the shell has for pages of the hub", async () => {
  const shell = await readFile(resolve("src-tauri/src/commands/names.rs"), "utf8");
  const names = [...shell.matchAll(/^ {4}"(\w+)",$/gm)].map(([, name]) => name);
  // Those of the start page, which is not the hub's.
  const ofStart = ["start_read", "start_again"];
  expect(names).toEqual(expect.arrayContaining(ofStart));
  expect(new Set(names.filter((name) => !ofStart.includes(name ?? "")))).toEqual(new Set(COMMANDS));
});
