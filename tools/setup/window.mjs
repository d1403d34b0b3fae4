// What `npm test` uses the desktop app with: a display, a session bus, a driver of its web
// view, and keys. Only Linux tests need them; nothing of it is part of Loqa.

import { access } from "node:fs/promises";
import { findApt } from "./packages.mjs";
import { tryCapture } from "./run.mjs";

/** The program or library that shows that a package is there; several places, as distributions differ. */
const NEEDS = [
  { apt: "xvfb", programs: ["Xvfb"] },
  // `xvfb-run` calls it; Debian only recommends it.
  { apt: "xauth", programs: ["xauth"] },
  { apt: "webkit2gtk-driver", programs: ["WebKitWebDriver"] },
  { apt: "dbus", programs: ["dbus-daemon", "dbus-run-session"] },
  { apt: "xdotool", programs: ["xdotool"] },
  // The tray; the app looks for it while it runs, so that no header names it.
  { apt: "libayatana-appindicator3-1", library: "libayatana-appindicator3.so.1" },
];
const LIBRARIES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/** Packages that are missing. */
export async function missingForWindow(env) {
  const missing = [];
  for (const { apt, programs = [], library } of NEEDS) {
    const found = await Promise.all([...programs.map((program) => onPath(program, env)), ...(library ? [inLibraries(library)] : [])]);
    if (found.includes(false)) missing.push(apt);
  }
  return missing;
}

/** Installs what is missing, or says how. @returns {Promise<boolean>} whether it is there */
export async function provideWindow(env) {
  if (process.platform !== "linux") return true;
  const missing = await missingForWindow(env);
  if (missing.length === 0) return true;
  const apt = await findApt(env);
  if (!apt) {
    process.stderr.write(`error: the test of the desktop app needs what Debian calls ${missing.join(", ")}; install it with your system's package manager\n`);
    return false;
  }
  process.stderr.write(`  … installing ${missing.join(" ")} for the test of the desktop app\n`);
  try {
    await apt.install(missing);
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    return false;
  }
  const still = await missingForWindow(env);
  if (still.length > 0) process.stderr.write(`error: still missing after the installation: ${still.join(", ")}\n`);
  return still.length === 0;
}

async function onPath(program, env) {
  // `command` looks without running: some of these know no `--version`.
  return (await tryCapture("sh", ["-c", 'command -v "$1"', "sh", program], { env })) !== null;
}

async function inLibraries(name) {
  for (const folder of LIBRARIES) {
    const found = await access(`${folder}/${name}`).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
