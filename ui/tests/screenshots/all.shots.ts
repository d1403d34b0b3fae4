// Pictures of every screen, in both themes and some sizes, for people to look at.
import { test } from "@playwright/test";
import { PICTURES, reach, SIZES } from "../e2e/screens";

for (const theme of ["light", "dark"] as const) {
  test(`pictures, ${theme}`, async ({ page }) => {
    test.setTimeout(600_000);
    await page.emulateMedia({ colorScheme: theme });
    for (const look of PICTURES) {
      const { name, window } = look;
      await page.setViewportSize(window ? SIZES[window] : { width: 1280, height: 800 });
      await reach(page, look);
      if (name === "latency") await page.waitForFunction(() => document.querySelectorAll("canvas").length > 0);
      await page.screenshot({ path: `ui/screenshots/${theme}/${name}.png` });
    }
  });
}

test("pictures, small windows", async ({ page }) => {
  test.setTimeout(600_000);
  for (const [size, width, height] of [
    ["800x600", 800, 600],
    ["zoom-200", 400, 300],
  ] as const) {
    await page.setViewportSize({ width, height });
    for (const look of PICTURES.filter(
      ({ name, window }) => !window && !/-(slow|error|empty|listening|failed)$/.test(name),
    )) {
      await reach(page, look);
      await page.screenshot({ path: `ui/screenshots/${size}/${look.name}.png` });
    }
  }
});
