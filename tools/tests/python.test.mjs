// The Python of the tests: what is pinned, and that nothing unpinned gets in. One
// small pinned package is really installed, so this needs a registry like set-up does.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { REQUIREMENTS, interpreterOf, providePython, pythonFolder } from "../setup/python.mjs";
import { capture } from "../setup/run.mjs";

let folder;
before(async () => (folder = await mkdtemp(join(tmpdir(), "loqa-python-"))));
after(() => rm(folder, { recursive: true, force: true }));

/** The requirement of one package, with its digests, as it stands in the pinned file. */
async function pinOf(name) {
  const text = await readFile(REQUIREMENTS, "utf8");
  const block = new RegExp(`^${name}==[^\\n]*(?:\\n {4}[^\\n]*)*`, "m").exec(text)?.[0];
  assert.ok(block, `${name} is pinned`);
  return block;
}

test("every package of the tests is pinned to one version and its digests", async () => {
  const text = await readFile(REQUIREMENTS, "utf8");
  const logical = text.replace(/\\\n/g, " ").split("\n").filter((line) => line.trim() && !line.startsWith("#"));
  assert.ok(logical.length > 20, `only ${logical.length} packages`);
  for (const line of logical) {
    assert.match(line, /^[a-z0-9._-]+==[^\s;]+( ; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+\s*$/, line.slice(0, 80));
  }
  for (const name of ["openai", "schemathesis", "wyoming"]) assert.ok(logical.some((line) => line.startsWith(`${name}==`)), name);
});

test("other requirements get another folder", () => {
  const env = { LOQA_TOOLS: folder };
  assert.notEqual(pythonFolder("a==1", env), pythonFolder("a==2", env));
  assert.equal(pythonFolder("a==1", env), pythonFolder("a==1", env));
  assert.match(interpreterOf("x", "win32"), /Scripts.python\.exe$/);
});

test("an environment is made once, then found, and made anew when it is broken", async () => {
  const requirements = join(folder, "small.txt");
  await writeFile(requirements, `${await pinOf("sniffio")}\n`);
  const env = { ...process.env, LOQA_TOOLS: join(folder, "tools") };
  const options = { requirements, probe: "import sniffio" };
  const interpreter = await providePython(env, options);
  assert.ok(interpreter, "no interpreter");
  assert.match(await capture(interpreter, ["-I", "-c", "import sniffio; print(sniffio.__file__)"]), /python-tests-/);
  await writeFile(join(env.LOQA_TOOLS, "unrelated"), "");
  assert.equal(await providePython({ ...env, PATH: folder }, options), interpreter, "without any other Python it is still there");
  await rm(interpreter);
  assert.equal(await providePython(env, options), interpreter);
  assert.deepEqual((await readdir(env.LOQA_TOOLS)).filter((name) => name.startsWith(".")), [], "nothing half made is left");
});

test("a package with another digest is refused, and nothing is left behind", async () => {
  const requirements = join(folder, "forged.txt");
  await writeFile(requirements, (await pinOf("sniffio")).replace(/sha256:[0-9a-f]{64}/g, `sha256:${"0".repeat(64)}`));
  const env = { ...process.env, LOQA_TOOLS: join(folder, "forged") };
  assert.equal(await providePython(env, { requirements, probe: "import sniffio" }), null);
  assert.deepEqual(await readdir(env.LOQA_TOOLS), []);
});

test("a package without a digest is refused", async () => {
  const requirements = join(folder, "bare.txt");
  await writeFile(requirements, "sniffio==1.3.1\n");
  const env = { ...process.env, LOQA_TOOLS: join(folder, "bare") };
  assert.equal(await providePython(env, { requirements, probe: "import sniffio" }), null);
  assert.deepEqual(await readdir(env.LOQA_TOOLS), []);
});
