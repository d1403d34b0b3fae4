// Builds the made-up window and serves it with the hub's own content policy, so that what
// the policy forbids fails here, too. Ends with its standard input or a signal.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const UI = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
/** As in crates/loqa-api/src/guard.rs. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

await build({ configFile: join(UI, "vite.config.ts"), mode: "gallery", logLevel: "warn" });

createServer(async (request, response) => {
  const path = normalize(new URL(request.url ?? "/", "http://x").pathname);
  try {
    const file = await readFile(join(UI, "dist-gallery", path));
    response.writeHead(200, {
      "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      "Content-Security-Policy": POLICY,
    });
    response.end(file);
  } catch {
    response.writeHead(404).end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
