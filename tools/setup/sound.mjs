// Virtual sound devices, on which `npm test` speaks and listens where a machine
// has no real ones: PulseAudio with null sinks. Only Linux tests need them.

import { access } from "node:fs/promises";
import { findApt } from "./packages.mjs";
import { tryCapture } from "./run.mjs";

const PACKAGES = ["pulseaudio", "pulseaudio-utils", "libasound2-plugins"];
/** Where Debian's multiarch folders and other distributions put ALSA's way to PulseAudio. */
const PLUGINS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"].map((folder) => `${folder}/alsa-lib/libasound_module_pcm_pulse.so`);

async function isThere(env) {
  for (const program of ["pulseaudio", "paplay"]) if ((await tryCapture(program, ["--version"], { env })) === null) return false;
  for (const plugin of PLUGINS) {
    const found = await access(plugin).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

/** Installs what is missing, or says how. @returns {Promise<boolean>} whether it is there */
export async function provideVirtualSound(env) {
  if (process.platform !== "linux" || (await isThere(env))) return true;
  const apt = await findApt(env);
  if (!apt) {
    process.stderr.write("error: the tests need PulseAudio, its tools (paplay) and its ALSA plugin; install them with your system's package manager\n");
    return false;
  }
  process.stderr.write(`  … installing ${PACKAGES.join(" ")} for the tests of microphone and speaker\n`);
  try {
    await apt.install(PACKAGES);
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    return false;
  }
  return isThere(env);
}
