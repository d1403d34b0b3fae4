import { expect, it } from "vitest";
import { read, shown, SUGGESTION, type Pressed } from "./accelerator";

const press = (code: string, more: Partial<Pressed> = {}): Pressed => ({
  code,
  ctrlKey: false,
  altKey: false,
  shiftKey: false,
  metaKey: false,
  ...more,
});

it.each([
  [press("Space", { ctrlKey: true, altKey: true }), "Control+Alt+Space"],
  [press("KeyL", { ctrlKey: true, shiftKey: true }), "Control+Shift+L"],
  [press("Digit5", { metaKey: true }), "Super+5"],
  [press("F9"), "F9"],
  [press("F13", { shiftKey: true }), "Shift+F13"],
])("%o is read as %s", (pressed, accelerator) => {
  expect(read(pressed)).toEqual({ type: "keys", accelerator });
});

it("keys like Ctrl alone wait for another, and what writes is refused", () => {
  expect(read(press("ControlLeft", { ctrlKey: true }))).toEqual({ type: "partial" });
  expect(read(press("Unidentified", { ctrlKey: true }))).toEqual({ type: "partial" });
  expect(read(press("KeyA"))).toEqual({ type: "needs_modifier" });
  expect(read(press("KeyA", { shiftKey: true }))).toEqual({ type: "needs_modifier" });
  expect(read(press("Space"))).toEqual({ type: "needs_modifier" });
});

it("keys are shown as they are written on the keyboard", () => {
  expect(shown("Control+Alt+Space", "linux", "en")).toBe("Ctrl + Alt + Space");
  expect(shown("Control+Shift+L", "windows", "de")).toBe("Strg + Umschalt + L");
  expect(shown(SUGGESTION, "linux", "de")).toBe("Strg + Alt + Leertaste");
  expect(shown("Super+5", "macos", "en")).toBe("⌘ 5");
});
