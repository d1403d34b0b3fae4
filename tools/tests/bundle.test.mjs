// What the hosted workflow calls the installers, and when the app gets an updater.

import assert from "node:assert/strict";
import { test } from "node:test";
import { named, updaterSettings } from "../app/bundle.mjs";

test("an installer is called by its version and platform, whatever the bundler calls it", () => {
  for (const [file, platform, wanted] of [
    ["Loqa_1.2.3_amd64.deb", "linux-x86_64", "Loqa_1.2.3-linux-x86_64.deb"],
    ["Loqa-1.2.3-1.x86_64.rpm", "linux-x86_64", "Loqa_1.2.3-linux-x86_64.rpm"],
    ["Loqa_1.2.3_amd64.AppImage", "linux-x86_64", "Loqa_1.2.3-linux-x86_64.AppImage"],
    ["Loqa_1.2.3_amd64.AppImage.sig", "linux-x86_64", "Loqa_1.2.3-linux-x86_64.AppImage.sig"],
    ["Loqa_1.2.3_aarch64.dmg", "darwin-aarch64", "Loqa_1.2.3-darwin-aarch64.dmg"],
    ["Loqa.app.tar.gz", "darwin-x86_64", "Loqa-darwin-x86_64.app.tar.gz"],
    ["Loqa.app.tar.gz.sig", "darwin-x86_64", "Loqa-darwin-x86_64.app.tar.gz.sig"],
    ["Loqa_1.2.3_x64-setup.exe", "windows-x86_64", "Loqa_1.2.3-windows-x86_64-setup.exe"],
  ]) {
    assert.equal(named(file, platform), wanted);
  }
});

test("there is an updater only with an address, a public key and the key to sign with", () => {
  const all = { UPDATER_PUBLIC_KEY: "p", UPDATER_ENDPOINT: "https://example.org/latest.json", TAURI_SIGNING_PRIVATE_KEY: "k" };
  assert.deepEqual(updaterSettings(all), { plugins: { updater: { pubkey: "p", endpoints: ["https://example.org/latest.json"] } } });
  for (const name of Object.keys(all)) assert.equal(updaterSettings({ ...all, [name]: "" }), null, name);
});
