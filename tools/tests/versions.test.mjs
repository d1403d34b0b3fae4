import assert from "node:assert/strict";
import { test } from "node:test";
import { isDebianLike } from "../setup/packages.mjs";
import { decideRust } from "../setup/rust.mjs";
import { isAtLeast, parseVersion } from "../setup/versions.mjs";

test("versions are found in what programs print", () => {
  for (const [text, version] of [
    ["cargo 1.96.0 (30a34c682 2026-05-25) (built from a source tarball)", [1, 96, 0]],
    ["nats-server: v2.15.1", [2, 15, 1]],
    ["1.96.0+dfsg1-1~deb12u1", [1, 96, 0]],
    ["cmake version 3.25", [3, 25, 0]],
    ["20.20.2", [20, 20, 2]],
    ["no version here 7", null],
    ["", null],
    [null, null],
  ]) {
    assert.deepEqual(parseVersion(text), version, text);
  }
});

test("versions are compared as numbers", () => {
  assert.ok(isAtLeast([1, 100, 0], [1, 96, 0]));
  assert.ok(isAtLeast([1, 96, 0], [1, 96, 0]));
  assert.ok(!isAtLeast([1, 95, 9], [1, 96, 0]));
  assert.ok(isAtLeast([2, 0, 0], [1, 96, 0]));
  assert.ok(!isAtLeast(null, [1, 96, 0]), "an unknown version is not enough");
});

const OLD = [1, 95, 0];
const NEW = [1, 96, 0];
const NOTHING = { forced: null, current: null, rustup: false, toolchains: [], system: null, apt: false, aptCandidate: null };

test("the Rust that is there is used before another is installed", () => {
  const decide = (facts) => decideRust({ ...NOTHING, ...facts });
  assert.deepEqual(decide({ current: NEW }), { action: "use", toolchain: null, version: NEW });
  assert.deepEqual(decide({ current: NEW, forced: "mine" }), { action: "use", toolchain: "mine", version: NEW });
  const toolchains = [{ name: "stable", version: OLD }, { name: "nightly", version: NEW }];
  assert.equal(decide({ current: OLD, rustup: true, toolchains }).toolchain, "nightly");
  const linked = [...toolchains, { name: "debian-1.96", version: NEW }];
  assert.equal(decide({ current: OLD, rustup: true, toolchains: linked, system: NEW }).toolchain, "debian-1.96");
  assert.equal(decide({ current: OLD, rustup: true, toolchains: [{ name: "stable", version: OLD }], system: NEW }).action, "link");
  assert.equal(decide({ system: NEW }).action, "use", "without rustup there is nothing to link");
});

test("Debian's packages come before rustup, and without either the user is told", () => {
  const decide = (facts) => decideRust({ ...NOTHING, ...facts });
  assert.equal(decide({ current: OLD, rustup: true, apt: true, aptCandidate: NEW }).action, "apt");
  assert.equal(decide({ current: OLD, rustup: true, apt: true, aptCandidate: OLD }).action, "rustup");
  assert.equal(decide({ rustup: true }).action, "rustup");
  const asked = decide({ current: OLD });
  assert.equal(asked.action, "ask");
  assert.match(asked.message, /1\.96\.0 or newer is needed, found 1\.95\.0/);
  assert.match(decide({}).message, /found none/);
});

test("Debian and its children are known by /etc/os-release", () => {
  assert.ok(isDebianLike('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'));
  assert.ok(isDebianLike("ID=ubuntu\nID_LIKE=debian\n"));
  assert.ok(isDebianLike('ID=linuxmint\nID_LIKE="ubuntu debian"\n'));
  assert.ok(!isDebianLike('ID="fedora"\nID_LIKE="rhel"\n'));
  assert.ok(!isDebianLike(""));
});
