import { expect, it } from "vitest";
import { ALL, beside, stepOf, stepsFor } from "./steps";

it("a browser has no native steps", () => {
  expect(stepsFor(true)).toEqual(ALL);
  expect(stepsFor(false)).toEqual(["privacy", "try", "model"]);
});

it("one goes forth and back, and ends at the ends", () => {
  const steps = stepsFor(true);
  expect(beside(steps, "privacy", 1)).toBe("devices");
  expect(beside(steps, "privacy", -1)).toBeNull();
  expect(beside(steps, "model", 1)).toBeNull();
  expect(stepOf(stepsFor(false), "devices"), "an address of a step that is not there").toBe("privacy");
});
