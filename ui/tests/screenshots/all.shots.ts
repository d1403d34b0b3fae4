// Pictures of every screen, in both themes and some sizes, for people to look at.
import { test } from "@playwright/test";
import { PICTURES } from "../e2e/screens";

for (const theme of ["light", "dark"] as const) {
  test(`pictures, ${theme}`, async ({ page }) => {
    test.setTimeout(180_000);
    await page.emulateMedia({ colorScheme: theme });
    await page.setViewportSize({ width: 1280, height: 800 });
    for (const { name, at, ready } of PICTURES) {
      await page.goto("about:blank");
      await page.goto(`/gallery.html${at}`);
      await page.getByRole(ready.role, { name: ready.name }).first().waitFor();
      if (name === "latency") await page.waitForFunction(() => document.querySelectorAll("canvas").length > 0);
      await page.screenshot({ path: `ui/screenshots/${theme}/${name}.png` });
    }
  });
}

test("pictures, small windows", async ({ page }) => {
  test.setTimeout(180_000);
  for (const [size, width, height] of [
    ["800x600", 800, 600],
    ["zoom-200", 400, 300],
  ] as const) {
    await page.setViewportSize({ width, height });
    for (const { name, at, ready } of PICTURES.filter(
      ({ name }) => !/-(slow|error|empty|listening|failed)$/.test(name),
    )) {
      await page.goto("about:blank");
      await page.goto(`/gallery.html${at}`);
      await page.getByRole(ready.role, { name: ready.name }).first().waitFor();
      await page.screenshot({ path: `ui/screenshots/${size}/${name}.png` });
    }
  }
});
