#!/usr/bin/env node
// Sets up everything that building and running Loqa needs; may be run again at
// any time. `npm run setup -- --help` tells the options.

import { createReport } from "./setup/report.mjs";
import { setUp } from "./setup/setup.mjs";

const HELP = `usage: npm run setup -- [--check] [--json]

Checks what building and running Loqa needs and installs only what is missing:
system packages (with apt, as root or by sudo), Rust 1.96 or newer, nats-server
and ONNX Runtime by pinned digest, the sources of all crates, the WASM skills.
Everything fetched lies in .tools/ (or $LOQA_TOOLS).

  --check  change nothing; exit code 1 when something is missing
  --json   the last line of standard output is one object:
           {"ok", "steps": [{"name", "state": "ok"|"done"|"missing", "detail"}], "tools", "seconds"}

  LOQA_TOOLS   where fetched tools go
  LOQA_MIRROR  folder or http(s) address that holds the archives of
               sidecars/nats-server/pins.json; asked before the registries
`;

async function main(args) {
  if (args.includes("--help")) {
    process.stdout.write(HELP);
    return 0;
  }
  const unknown = args.find((arg) => arg !== "--check" && arg !== "--json");
  if (unknown) {
    process.stderr.write(`error: unknown option \`${unknown}\`\n\n${HELP}`);
    return 2;
  }
  const check = args.includes("--check");
  const report = createReport({ json: args.includes("--json") });
  report.title(check ? "Loqa: checking the set-up" : "Loqa: set-up");
  const { ok, steps, tools } = await setUp({ check, report });
  const seconds = report.finish({ ok, steps, tools });
  const missing = steps.filter(({ state }) => state === "missing");
  if (ok) report.title(`All there (${seconds.toFixed(1)} s). Next: npm run demo`);
  else report.title(`Missing: ${missing.map(({ name }) => name).join(", ")} (${seconds.toFixed(1)} s).`);
  return ok ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`error: ${error.code === "EACCES" || error.code === "ENOSPC" ? error.message : (error.stack ?? error)}\n`);
  process.exitCode = 1;
}
