// Version numbers as programs print them.

/**
 * Finds the first `major.minor[.patch]` in a text, as in `cargo 1.96.0 (30a34c682 2026-05-25)`.
 * @param {string} text
 * @returns {[number, number, number] | null}
 */
export function parseVersion(text) {
  const match = /(?:^|[^\d.])v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(text ?? "");
  return match && [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** Whether `version` is `minimum` or later; an unknown version is not. */
export function isAtLeast(version, minimum) {
  if (!version) return false;
  for (let index = 0; index < 3; index += 1) {
    const difference = (version[index] ?? 0) - (minimum[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** `1.96.0` */
export function showVersion(version) {
  return version ? version.join(".") : "unknown";
}
