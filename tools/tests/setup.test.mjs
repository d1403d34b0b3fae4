// The whole program, run as a user runs it, with a mirror folder made from pins of
// its own where the real ones are too large, and the real pins where only looking
// is tested.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PINS, ROOT, platformKey } from "../setup/paths.mjs";

let folder;
before(async () => (folder = await mkdtemp(join(tmpdir(), "loqa-setup-"))));
after(() => rm(folder, { recursive: true, force: true }));

function setup(args, env = {}) {
  const run = spawnSync(process.execPath, [join(ROOT, "tools", "setup.mjs"), ...args], {
    env: { ...process.env, ...env },
    encoding: "utf8",
    timeout: 300_000,
  });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

const lastLine = (text) => JSON.parse(text.trimEnd().split("\n").at(-1));

test("--check changes nothing and tells what is missing", async () => {
  const tools = join(folder, "tools");
  const { code, out } = setup(["--check", "--json"], { LOQA_TOOLS: tools });
  assert.equal(code, 1);
  const result = lastLine(out);
  assert.equal(result.ok, false);
  const states = Object.fromEntries(result.steps.map(({ name, state }) => [name, state]));
  assert.equal(states["nats-server"], "missing");
  assert.equal(states.onnxruntime, "missing");
  assert.equal(states.Node, "ok");
  assert.deepEqual(await readdir(folder), [], "not even the folder was made");
});

test("with --json people are spoken to on standard error only", () => {
  const { out, err } = setup(["--check", "--json"], { LOQA_TOOLS: join(folder, "tools") });
  assert.equal(out.trimEnd().split("\n").length, 1, out);
  assert.match(err, /nats-server/);
});

test("an unknown option is an error of the user", () => {
  const { code, err } = setup(["--fast"]);
  assert.equal(code, 2);
  assert.match(err, /unknown option `--fast`/);
  assert.equal(setup(["--help"]).code, 0);
});

test("a machine without Rust, compiler and pip is told what to do", { skip: process.platform !== "linux" && "Linux only" }, async () => {
  // Without PATH nothing is found but what set-up names by its full path.
  const { code, out } = setup(["--check", "--json"], { PATH: join(folder, "empty"), HOME: folder, CARGO_HOME: join(folder, "cargo"), LOQA_TOOLS: join(folder, "tools") });
  assert.equal(code, 1);
  const packages = lastLine(out).steps.find(({ name }) => name === "System packages");
  for (const need of ["C compiler", "cmake", "pkg-config", "pip", "ALSA headers", "WebKitGTK headers", "D-Bus headers"]) assert.match(packages.detail, new RegExp(need.replace("+", "\\+")));
});

test("the pins name a source with all digests for every platform", async () => {
  const { tools } = JSON.parse(await readFile(PINS, "utf8"));
  assert.deepEqual(tools.map(({ name }) => name), ["nats-server", "onnxruntime"]);
  for (const tool of tools) {
    for (const [platform, { file, sources }] of Object.entries(tool.platforms)) {
      assert.ok(file && sources.length > 0, `${tool.name} for ${platform}`);
      for (const source of sources) {
        assert.match(source.archiveSha256, /^[0-9a-f]{64}$/);
        assert.match(source.sha256, /^[0-9a-f]{64}$/);
        assert.ok(source.archiveSize > 0 && source.size > 0 && source.member && source.archive);
        assert.ok(["wheel", "npm"].includes(source.kind));
      }
    }
  }
  for (const key of ["linux-x64", "linux-arm64", "darwin-arm64", "darwin-x64", "win32-x64"]) {
    assert.ok(tools.every((tool) => tool.platforms[key]), key);
  }
  assert.equal(typeof platformKey(), "string");
});
