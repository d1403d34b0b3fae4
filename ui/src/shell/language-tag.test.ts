import { expect, test } from "vitest";
import { repairLanguage } from "./language-tag";

test("a language that no formatter takes becomes English, every other stays", () => {
  for (const [given, wanted] of [
    ["C", "en"],
    ["", "en"],
    ["de-AT", "de-AT"],
    ["en-US", "en-US"],
  ]) {
    const browser = { language: given ?? "" };
    repairLanguage(browser);
    expect(browser.language).toBe(wanted);
    expect(new Intl.NumberFormat(browser.language).format(1)).toBe("1");
  }
});
