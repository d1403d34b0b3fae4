import { expect, it } from "vitest";
import { report } from "./report";

it("a bug report has versions and states, and no reasons that could hold a path", () => {
  const status = {
    version: "0.1.0",
    pid: 1,
    uptime_ms: 61_000,
    capabilities: ["stt.whisper", "llm.reflex"],
    ready: ["stt.whisper"],
    skills: ["timer"],
    open_prompts: 0,
    audit: { failing: "/home/ada/.local: full", waiting: 1, lost: 2 },
  };
  const text = report(status, "Chromium");
  expect(text).toContain("llm.reflex (missing)");
  expect(text).toContain("audit failing, 1 waiting, 2 lost");
  expect(text).not.toContain("ada");
});
