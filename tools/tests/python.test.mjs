// The Python of the tests: what is pinned, and that nothing unpinned gets in. A small
// package made here is really installed, so nothing of this needs a network.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { findPip } from "../setup/fetch.mjs";
import { RECIPES, TESTS, interpreterOf, providePython, pythonFolder } from "../setup/python.mjs";
import { capture } from "../setup/run.mjs";

const WHEEL = "loqa_probe-1.0-py3-none-any.whl";
const MAKE_WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("loqa_probe.py", "")
    wheel.writestr("loqa_probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: loqa-probe\\nVersion: 1.0\\n")
    wheel.writestr("loqa_probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("loqa_probe-1.0.dist-info/RECORD", "loqa_probe.py,,\\nloqa_probe-1.0.dist-info/METADATA,,\\nloqa_probe-1.0.dist-info/WHEEL,,\\nloqa_probe-1.0.dist-info/RECORD,,\\n")
`;
const PROBE = "import loqa_probe";

let folder, wheels, digest;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "loqa-python-"));
  wheels = join(folder, "wheels");
  await mkdir(wheels);
  const python = await findPip(process.env);
  assert.ok(python, "set-up provides a Python with pip");
  await capture(python[0], [...python.slice(1), "-c", MAKE_WHEEL, join(wheels, WHEEL)]);
  digest = createHash("sha256").update(await readFile(join(wheels, WHEEL))).digest("hex");
});
after(() => rm(folder, { recursive: true, force: true }));

/** What is asked for in a file, and an environment in which pip finds the wheel and no registry. */
async function prepared(name, requirement) {
  const requirements = join(folder, `${name}.txt`);
  await writeFile(requirements, `${requirement}\n`);
  const env = { ...process.env, LOQA_TOOLS: join(folder, name), PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels };
  return { env, options: { requirements, probe: PROBE } };
}

const NEEDED = [[TESTS, ["openai", "schemathesis", "wyoming"]], [RECIPES, ["torch", "numpy", "sentencepiece", "onnx", "onnxruntime", "pocketsphinx"]]];
for (const [purpose, needed] of NEEDED) {
  test(`every package of the ${purpose.name} is pinned to one version and its digests`, async () => {
    const text = await readFile(purpose.requirements, "utf8");
    const logical = text.replace(/\\\n/g, " ").split("\n").filter((line) => line.trim() && !line.trimStart().startsWith("#"));
    assert.ok(logical.length > 20, `only ${logical.length} packages`);
    for (const line of logical) {
      assert.match(line, /^[a-z0-9._-]+==[^\s;]+( ; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+\s*$/, line.slice(0, 80));
    }
    for (const name of needed) assert.ok(logical.some((line) => line.startsWith(`${name}==`)), name);
  });
}

test("other requirements get another folder", () => {
  const env = { LOQA_TOOLS: folder };
  assert.notEqual(pythonFolder("a==1", env), pythonFolder("a==2", env));
  assert.equal(pythonFolder("a==1", env), pythonFolder("a==1", env));
  assert.match(interpreterOf("x", "win32"), /Scripts.python\.exe$/);
});

test("an environment is made once, then found, and made anew when it is broken", async () => {
  const { env, options } = await prepared("good", `loqa-probe==1.0 --hash=sha256:${digest}`);
  const interpreter = await providePython(env, options);
  assert.ok(interpreter, "no interpreter");
  assert.match(await capture(interpreter, ["-I", "-c", `${PROBE}; print(loqa_probe.__file__)`]), /python-tests-/);
  assert.equal(await providePython({ ...env, PATH: folder }, options), interpreter, "without any other Python it is still there");
  await rm(interpreter);
  assert.equal(await providePython(env, options), interpreter);
  assert.deepEqual((await readdir(env.LOQA_TOOLS)).filter((name) => name.startsWith(".")), [], "nothing half made is left");
});

test("a package with another digest, or with none, is refused and leaves nothing behind", async () => {
  for (const [name, requirement] of [
    ["forged", `loqa-probe==1.0 --hash=sha256:${"0".repeat(64)}`],
    ["bare", "loqa-probe==1.0"],
  ]) {
    const { env, options } = await prepared(name, requirement);
    assert.equal(await providePython(env, options), null, name);
    assert.deepEqual(await readdir(env.LOQA_TOOLS), [], name);
  }
});
