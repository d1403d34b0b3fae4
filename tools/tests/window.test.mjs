// What the test of the desktop app needs is seen when it is missing, and only then.

import assert from "node:assert/strict";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { missingForWindow } from "../setup/window.mjs";

const linux = { skip: process.platform !== "linux" && "Linux only" };

test("every program that is not on the path is missed by its package", linux, async () => {
  const folder = await mkdtemp(join(tmpdir(), "loqa-window-"));
  try {
    // A path with nothing on it but the shell that looks.
    await symlink("/bin/sh", join(folder, "sh"));
    const all = await missingForWindow({ PATH: folder });
    for (const name of ["xvfb", "xauth", "webkit2gtk-driver", "dbus", "xdotool"]) assert.ok(all.includes(name), `${name} in ${all}`);
    await symlink("/bin/sh", join(folder, "xdotool"));
    await symlink("/bin/sh", join(folder, "dbus-daemon"));
    const fewer = await missingForWindow({ PATH: folder });
    assert.ok(!fewer.includes("xdotool"), "its program is there");
    assert.ok(fewer.includes("dbus"), "one of its two programs is not enough");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
