// Devices and keys in a document without layout, over a made-up door to the shell.
import { fireEvent, render, screen, waitFor } from "@testing-library/svelte";
import { beforeEach, expect, it } from "vitest";
import { door } from "../../tests/fake/door";
import type { DeviceList, Hotkey } from "../backend";
import { en } from "../text/en";
import { chooseLanguage } from "../text/text.svelte";
import Devices from "./Devices.svelte";
import Keys from "./Keys.svelte";

beforeEach(() => chooseLanguage("en"));

const devices: DeviceList = {
  microphones: [
    { id: "m-1", name: "Built-in", isDefault: true },
    { id: "m-2", name: "Headset", isDefault: false },
  ],
  speakers: [],
  microphone: "m-9",
  speaker: null,
};

it("the level flows only while the devices are on the screen", async () => {
  const shell = door({ devices_list: () => devices });
  const { unmount } = render(Devices, { native: shell });
  const microphone = await screen.findByLabelText<HTMLSelectElement>(en.devices.microphone);
  expect(shell.asked).toContainEqual(["devices_listen", { on: true }]);
  expect(microphone.value, "a chosen device that is not plugged in stays chosen").toBe("m-9");
  expect(screen.getByText(en.devices.noSpeaker)).toBeTruthy();
  expect(screen.getByText(en.devices.sayNow)).toBeTruthy();

  shell.tell("talk", { type: "level", level: 0.6 });
  await screen.findByText(en.devices.heard);
  expect(screen.getByRole("meter").getAttribute("aria-valuenow")).toBe("60");

  await fireEvent.change(microphone, { target: { value: "" } });
  await waitFor(() => expect(shell.asked).toContainEqual(["devices_choose", { microphone: null, speaker: null }]));
  await fireEvent.click(screen.getByRole("button", { name: en.devices.trySpeaker }));
  expect(shell.asked).toContainEqual(["devices_try_speaker", undefined]);
  unmount();
  expect(shell.asked.at(-1)).toEqual(["devices_listen", { on: false }]);
});

it("a key is recorded by pressing it, and Esc keeps what there was", async () => {
  let hotkey: Hotkey = { accelerator: "Control+Alt+Space", isActive: true, isPortal: false, problem: null };
  const shell = door({
    hotkey_read: () => hotkey,
    hotkey_choose: ({ accelerator }) => (hotkey = { ...hotkey, accelerator }),
  });
  render(Keys, { native: shell, app: null });
  const record = await screen.findByRole("button", { name: en.hotkey.record });
  await fireEvent.click(record);
  expect(screen.getByRole("button", { name: en.hotkey.recording }).getAttribute("aria-pressed")).toBe("true");
  await fireEvent.keyDown(record, { key: "a", code: "KeyA" });
  expect(screen.getByText(en.hotkey.needsModifier)).toBeTruthy();
  await fireEvent.keyDown(record, { key: "Escape", code: "Escape" });
  expect(screen.getByRole("button", { name: en.hotkey.record })).toBeTruthy();
  expect(shell.asked.some(([command]) => command === "hotkey_choose")).toBe(false);

  await fireEvent.click(record);
  await fireEvent.keyDown(record, { key: "Control", code: "ControlLeft", ctrlKey: true });
  await fireEvent.keyDown(record, { key: "l", code: "KeyL", ctrlKey: true, shiftKey: true });
  await screen.findByText("Ctrl + Shift + L");
  expect(shell.asked.at(-1)).toEqual(["hotkey_choose", { accelerator: "Control+Shift+L" }]);
  await fireEvent.click(screen.getByRole("button", { name: en.hotkey.off }));
  await screen.findByText(en.hotkey.none);
});
