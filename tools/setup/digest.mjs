// SHA-256 of files and bytes.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** @param {string} path @returns {Promise<string | null>} hex, or `null` when there is no such file */
export async function digestOfFile(path) {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "EISDIR" || error.code === "ENOTDIR") return null;
    throw error;
  }
  return hash.digest("hex");
}

/** @param {Buffer} bytes */
export function digestOfBytes(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
